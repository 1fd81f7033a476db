# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an exporter shall be like on this host, and what is to be done for that.

PRIVATE to the collection; may change without notice. Nothing here changes the host.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._errors import InvalidOption
from .._secret_files import secret
from . import _certificates, _machine, _monitor_role, _passwords, _unit
from ._archives import Version
from ._catalogue import KINDS
from ._model import FILES, NO_TLS, SELF_SIGNED, Exporter, Kind

ETC, OPT, UNITS = "/etc/holdfast-exporters", "/opt/holdfast-exporters", "/etc/systemd/system"
DECLARED = "declared.json"
"""Beside the exporter's files: what has to be known when it is declared no more. Holds no secret."""


@dataclass
class Place:
    """An exporter on this host: what it shall be like, and what is to be done for that.

    Attributes:
        options: of its kind, with secrets read from their files.
        files: path → content and mode, of those that are not as they should be.
        gone: paths of those that were of use before.
        former_role: the PostgreSQL server that it looked at before and that has a role for it still; None for none.
        certificate: the path of its certificate; None without TLS.
        program: the path that the unit starts.
        steps: what is to be done, in words.
    """

    exporter: Exporter
    kind: Kind
    options: Mapping[str, Any] = field(repr=False)
    version: Version | None
    program: str
    certificate: str | None
    files: dict[str, tuple[str, int]] = field(default_factory=dict, repr=False)
    gone: list[str] = field(default_factory=list)
    former_role: Mapping[str, Any] | None = None
    steps: list[str] = field(default_factory=list)
    restart: bool = False

    @property
    def directory(self) -> str:
        return os.path.join(ETC, self.exporter.name)

    @property
    def secrets(self) -> list[str]:
        """What must not be shown, whoever says it."""
        hidden = (self.options.get(name) for name, option in self.kind.options.items() if option.get("no_log") is True)
        return [*filter(None, hidden), *self.exporter.users.values()]

    @property
    def versions(self) -> str:
        """The directory of its versions, if it comes out of archives."""
        return os.path.join(OPT, self.exporter.name)

    @property
    def unit_path(self) -> str:
        return os.path.join(UNITS, self.exporter.unit)

    @property
    def masks(self) -> str:
        """The package's own unit, while it can still be started; empty when it cannot."""
        unit = package_unit(self.exporter)
        return unit if unit and not _machine.is_masked(os.path.join(UNITS, unit)) else ""

    def want(self, path: str, content: str, mode: int, shown: str) -> None:
        """A file that shall be so; noted when it is not."""
        present = _machine.read_text(path)
        if present != content or os.stat(path).st_mode & 0o7777 != mode:
            self.files[path] = (content, mode)
            self.restart = True
            self.steps.append(f"{self.exporter.name}: {'write' if present is None else 'change'} {shown}")


def package_unit(exporter: Exporter) -> str:
    """The unit of the package whose place an exporter takes; empty when it comes out of an archive."""
    package = KINDS[exporter.kind].package
    return package.unit if package is not None and exporter.archive is None else ""


def version_of(exporter: Exporter) -> Version | None:
    """The version of an archive that an exporter declares; None for a package.

    Raises:
        Refused, Unsupported: it cannot be proved, or not on this machine.
    """
    upstream = KINDS[exporter.kind].upstream
    if exporter.archive is None or upstream is None:
        return None
    return Version.of(exporter, exporter.archive, upstream, os.path.join(OPT, exporter.name))


def look(exporter: Exporter, *, check_mode: bool) -> Place:
    """What is to be done for one exporter. Changes nothing, not even makes a certificate in check mode.

    Raises:
        HoldfastError: it cannot be done on this host.
    """
    kind = KINDS[exporter.kind]
    options = _with_secrets(exporter, kind)
    version = version_of(exporter)
    program = version.linked if version is not None else kind.package.program if kind.package is not None else ""
    place = Place(exporter, kind, options, version, program, None)
    if not check_mode:
        _machine.require_groups(kind.groups, exporter.name)
    if not _machine.has_account(exporter.account):
        place.steps.append(f"{exporter.name}: make the account {exporter.account}")
        place.restart = True
    if version is not None and not version.is_here:
        place.steps.append(f"{exporter.name}: fetch version {version.version}")
        place.restart = True  # the one in use may be replaced by another of the same name
    if version is not None and not version.is_used:
        place.steps.append(f"{exporter.name}: use version {version.version}")
        place.restart = True
    textfiles = options.get("textfile_dir")
    if textfiles and not os.path.isdir(textfiles):
        place.steps.append(f"{exporter.name}: make the directory {textfiles}")
    _want_protection(place, check_mode)
    _want_files(place)
    _look_at_systemd(place)
    return place


def _with_secrets(exporter: Exporter, kind: Kind) -> dict[str, Any]:
    """The options with what their `…_file` options name."""
    options = dict(exporter.options)
    for name, option in kind.options.items():
        if option.get("no_log") is True:
            options[name] = secret(exporter.options, name, f"exporter {exporter.name}: ")
            if options[name] and re.search(r"[\x00-\x1f]", options[name]):
                raise InvalidOption(f"exporter {exporter.name}: {name} holds a line break.", stage="preflight")
    return options


def _want_protection(place: Place, check_mode: bool) -> None:
    """Certificate and key: copies of the operator's, which its group may read, or a pair of the host's own."""
    exporter = place.exporter
    if exporter.tls == NO_TLS:
        return
    place.certificate = os.path.join(place.directory, _unit.CERTIFICATE)
    key = os.path.join(place.directory, _unit.KEY)
    if exporter.tls == FILES:
        for path, given, option in (
            (place.certificate, exporter.certificate, "tls_certificate"),
            (key, exporter.key, "tls_key"),
        ):
            if not check_mode or os.path.exists(given):
                content = _certificates.read(given, f"exporter {exporter.name}: {option}")
                place.want(path, content, 0o640, path)
    elif not os.path.exists(place.certificate) or not _certificates.is_good(place.certificate, key):
        place.steps.append(f"{exporter.name}: make a certificate")
        if not check_mode:
            made = _certificates.make(exporter.address)
            place.files[place.certificate], place.files[key] = (made[0], 0o644), (made[1], 0o640)
            place.restart = True


def _want_files(place: Place) -> None:
    exporter, kind = place.exporter, place.kind
    unwanted = {_unit.WEB, _unit.CONFIG, _unit.ENVIRONMENT}
    if exporter.tls == NO_TLS:
        unwanted |= {_unit.CERTIFICATE, _unit.KEY}

    def want(name: str, content: str, mode: int = 0o640) -> None:
        unwanted.discard(name)
        path = os.path.join(place.directory, name)
        place.want(path, content, mode, path)

    if _unit.needs_web_file(exporter, kind):
        want(_unit.WEB, _unit.web_file(exporter, _hashes(place)))
    config = _unit.config_file(kind, place.options)
    if config is not None:
        want(_unit.CONFIG, config)
    variables = _unit.environment(exporter, kind, place.options)
    if variables:
        want(_unit.ENVIRONMENT, _unit.environment_file(variables), 0o600)
    want(DECLARED, json.dumps(_declared(exporter, kind), indent=2, sort_keys=True) + "\n")
    text = _unit.unit(exporter, kind, program=place.program, directory=place.directory, options=place.options)
    place.want(place.unit_path, text, 0o644, place.unit_path)
    place.gone += filter(os.path.exists, (os.path.join(place.directory, name) for name in sorted(unwanted)))
    if place.version is None and os.path.isdir(place.versions):
        place.gone.append(place.versions)
    place.steps += [f"{exporter.name}: remove {path}" for path in place.gone]
    place.former_role = _former_role(place)
    if place.former_role is not None:
        socket = _monitor_role.socket_of(place.former_role)
        place.steps.append(f"{exporter.name}: remove the role {exporter.account} of {socket}")


def _hashes(place: Place) -> dict[str, str]:
    text = _machine.read_text(os.path.join(place.directory, _unit.WEB))
    present: Any = {}
    if text is not None:
        with contextlib.suppress(ValueError):  # what somebody else wrote there is written anew
            present = json.loads(text).get("basic_auth_users", {})
    return _passwords.hashes(place.exporter.users, present if isinstance(present, dict) else {})


def _declared(exporter: Exporter, kind: Kind) -> dict[str, Any]:
    role = None
    if has_role(exporter, kind):
        role = {name: exporter.options[name] for name in ("login_unix_socket", "login_port", "database")}
    return {"kind": exporter.kind, "package_unit": package_unit(exporter) or _still_masked(exporter), "role": role}


def _former_role(place: Place) -> Mapping[str, Any] | None:
    former = declared_before(place.exporter.name).get("role")
    if not former or (
        has_role(place.exporter, place.kind)
        and _monitor_role.socket_of(former) == _monitor_role.socket_of(place.options)
    ):
        return None
    return dict(former)


def _still_masked(exporter: Exporter) -> str:
    """The unit of a package that it was made of before, and that is unmasked once it is declared no more."""
    unit = str(declared_before(exporter.name).get("package_unit") or "")
    return unit if unit and _machine.is_masked(os.path.join(UNITS, unit)) else ""


def declared_before(name: str) -> dict[str, Any]:
    """What is known of an exporter that was made before; empty when there is none."""
    text = _machine.read_text(os.path.join(ETC, name, DECLARED))
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def has_role(exporter: Exporter, kind: Kind) -> bool:
    """Whether its account needs a role in the PostgreSQL server that it looks at."""
    return bool(kind.role_unless) and not exporter.options.get(kind.role_unless)


def _look_at_systemd(place: Place) -> None:
    exporter = place.exporter
    if place.masks:
        place.steps.append(f"{exporter.name}: mask {place.masks}, whose place it takes")
    state = _machine.state_of(exporter.unit)
    if not place.restart and not (state.active and not state.program_is_gone):
        place.restart = True
        place.steps.append(f"{exporter.name}: start it")
    elif place.restart and state.active:
        place.steps.append(f"{exporter.name}: start it anew")
    if not state.enabled and place.unit_path not in place.files:
        place.steps.append(f"{exporter.name}: enable it")


def role_is_missing(place: Place) -> bool:
    """Whether the server that the exporter looks at is there and has no role for it."""
    exporter = place.exporter
    return (
        has_role(exporter, place.kind)
        and _monitor_role.is_there(place.options)
        and _monitor_role.present(exporter.account, place.options, check_mode=True)
    )


def differences(place: Place) -> Iterator[dict[str, str]]:
    """What changes, for a diff: units in full, of everything that may hold a secret only the name."""
    for path, (content, _mode) in place.files.items():
        if path == place.unit_path:
            yield {
                "before_header": path,
                "after_header": path,
                "before": _machine.read_text(path) or "",
                "after": content,
            }
        else:
            yield {"prepared": f"{path}\n"}


def missing_packages(exporters: tuple[Exporter, ...]) -> list[str]:
    """Packages that have to be installed first: of exporters, and of what their preparation needs."""
    wanted = [
        package.name
        for exporter in exporters
        if exporter.archive is None
        and (package := KINDS[exporter.kind].package) is not None
        and not os.access(package.program, os.X_OK)
    ]
    if any(exporter.tls == SELF_SIGNED for exporter in exporters) and shutil.which("openssl") is None:
        wanted.append("openssl")
    return list(dict.fromkeys(wanted))
