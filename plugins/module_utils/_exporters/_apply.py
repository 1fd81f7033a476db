# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making of a host what is declared of its exporters.

PRIVATE to the collection; may change without notice.

Whatever can fail without touching what runs comes first, for all exporters: archives are fetched and proved, programs
are asked whether they know their flags and their configuration. Then each exporter is switched, started and scraped;
one that does not come up is put back to how it was, and runs again as before.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._errors import HoldfastError, InvalidOption, MissingDependency, NotProved, Unsupported, redact
from .._process import run
from .._replace import replace_file
from . import _archives, _machine, _monitor_role, _scrape, _unit
from ._parse import NAME
from ._place import ETC, OPT, UNITS, Place, declared_before, has_role

_TIMEOUT = 30.0


def prepare(place: Place) -> None:
    """Everything that can fail without touching what runs.

    Raises:
        HoldfastError: nothing was changed but for a version of an archive that now lies beside the one in use.
    """
    exporter, kind, version = place.exporter, place.kind, place.version
    if version is not None and not version.is_here:
        try:
            version.fetch()
        except HoldfastError as error:
            error.message = f"exporter {exporter.name}: {error.message}"
            raise
    program = version.executable if version is not None else place.program
    if not os.access(program, os.X_OK):
        raise MissingDependency(
            f"exporter {exporter.name}: {program} is not installed.",
            stage="preflight",
            hint=f"Install the package {kind.package.name if kind.package else ''}; the role exporters does.",
        )
    if place.restart:
        _check_flags(place, program)
        _check_config(place, program)


def _check_flags(place: Place, program: str) -> None:
    """Programs of other versions know other flags; one that does not know a flag would never start."""
    code, out, err = run([program, "--help"], check=False, timeout=_TIMEOUT)
    text = out.decode("utf-8", "replace") + err
    wanted = _unit.flags_of(place.exporter, place.kind, place.options)
    unknown = [flag for flag in wanted if not _knows(text, flag)]
    if code not in (0, 1, 2) or not unknown:
        return
    for_auth = any(flag.startswith("basic-auth") for flag in unknown)
    raise Unsupported(
        f"exporter {place.exporter.name}: {os.path.basename(program)} on this host does not know "
        f"{' and '.join(f'--{flag}' for flag in unknown)}"
        + (", so it cannot ask for passwords (basic_auth)." if for_auth else "."),
        stage="preflight",
        hint="Leave out the option that needs it, or install a newer version (install_method: archive).",
    )


def _knows(text: str, flag: str) -> bool:
    plain = flag[3:] if flag.startswith("no-") else flag
    return any(re.search(rf"(?<![\w.-])--?(?:\[no-\])?{re.escape(name)}(?![\w.-])", text) for name in (flag, plain))


def _check_config(place: Place, program: str) -> None:
    """Let the program judge its configuration before it is put in place of the one that is there."""
    config = place.kind.config
    path = os.path.join(place.directory, _unit.CONFIG)
    if config is None or not config.check or path not in place.files:
        return
    with tempfile.TemporaryDirectory(prefix="holdfast-exporter-") as directory:
        candidate = os.path.join(directory, _unit.CONFIG)
        replace_file(candidate, place.files[path][0], 0o600)
        code, out, err = run([program, f"{config.flag}={candidate}", *config.check], check=False, timeout=_TIMEOUT)
    if code != 0:
        raise InvalidOption(
            f"exporter {place.exporter.name}: {config.option}: the exporter does not accept it.",
            stage="preflight",
            tool_output=(out.decode("utf-8", "replace") + err).replace(candidate, _unit.CONFIG),
        )


def commit(place: Place) -> list[str]:
    """Switch to what was prepared, start it where needed, and scrape it.

    Returns:
        what is not well with what it looks at, a sentence each.

    Raises:
        HoldfastError: it does not come up. It was put back to how it was.
    """
    exporter = place.exporter
    made_account = not _machine.has_account(exporter.account)
    if made_account:
        _machine.make_account(exporter.account)
    if place.options.get("textfile_dir"):
        os.makedirs(place.options["textfile_dir"], mode=0o755, exist_ok=True)
    try:
        warnings = list(_make_role(place))
    except HoldfastError:
        if made_account:
            _machine.remove_account(exporter.account)
        raise
    before = _Before.of(place)
    try:
        if place.masks:
            _machine.systemctl("disable", "--now", place.masks, check=False)  # it may have been neither
            _machine.systemctl("mask", place.masks)
        _switch(place)
        text = _prove(place)
        warnings += _scrape.look(exporter, place.kind, text)
    except HoldfastError as error:
        # Some say with which password they could not log in.
        _scrape.why(error, redact(_machine.journal(exporter.unit), place.secrets))
        if before.changed:
            before.put_back()
            error.left_behind = (
                "no change of what runs; a version that was fetched, or a role in PostgreSQL, stays for the next run"
            )
            if made_account and not before.active:
                _machine.remove_account(exporter.account)
        raise
    # What was of use before goes at last: until here the way back might have needed it.
    if place.version is not None:
        place.gone += _archives.outdated(place.version.directory, place.version.version)
    for path in place.gone:
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    return [*warnings, *_remove_role(exporter.account, place.former_role)]


def _make_role(place: Place) -> Iterator[str]:
    if not has_role(place.exporter, place.kind):
        return
    if _monitor_role.is_there(place.options):
        _monitor_role.present(place.exporter.account, place.options, check_mode=False)
    else:
        socket = _monitor_role.socket_of(place.options)
        yield f"exporter {place.exporter.name}: no server listens on {socket}; run this again when one does."


def _switch(place: Place) -> None:
    unit = place.exporter.unit
    _machine.make_directory(place.directory, place.exporter.account)
    for path, (content, mode) in place.files.items():
        replace_file(path, content, mode)
    if place.version is not None and not place.version.is_used:
        place.version.switch()
    if place.unit_path in place.files:
        _machine.systemctl("daemon-reload")
    if not _machine.state_of(unit).enabled:
        _machine.systemctl("enable", unit)
    if place.restart:
        _machine.systemctl("restart", unit)


def _prove(place: Place) -> str:
    """Scrape it, and see that it lives on afterwards: a filter of system calls strikes when they are made."""
    exporter = place.exporter
    before = _machine.state_of(exporter.unit)
    text = _scrape.scrape(
        exporter, place.certificate, lambda: _machine.state_of(exporter.unit).restarts > before.restarts
    )
    after = _machine.state_of(exporter.unit)
    if not after.active or after.restarts != before.restarts or not after.pid:
        raise NotProved(f"exporter {exporter.name} did not survive being scraped.", stage="scrape")
    return text


@dataclass
class _Before:
    """How an exporter was before it was switched."""

    place: Place
    files: Mapping[str, tuple[str, int] | None] = field(repr=False)
    version: str | None
    active: bool
    masks: str
    package: _machine.State | None

    @classmethod
    def of(cls, place: Place) -> _Before:
        files: dict[str, tuple[str, int] | None] = {}
        for path in place.files:
            text = _machine.read_text(path)
            files[path] = None if text is None else (text, os.stat(path).st_mode & 0o7777)
        version = _archives.in_use(place.version.directory) if place.version is not None else None
        package = _machine.state_of(place.masks) if place.masks else None
        return cls(place, files, version, _machine.state_of(place.exporter.unit).active, place.masks, package)

    @property
    def changed(self) -> bool:
        """Whether there is anything to put back."""
        return bool(self.files) or (self.place.version is not None and self.version != self.place.version.version)

    def put_back(self) -> None:
        unit = self.place.exporter.unit
        if not self.active:
            _machine.systemctl("disable", "--now", unit, check=False)
        for path, was in self.files.items():
            if was is not None:
                replace_file(path, was[0], was[1])
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
        if self.place.version is not None:
            _archives.switch(self.place.version.directory, self.version)
        with contextlib.suppress(OSError):  # files that are not ours keep it
            os.rmdir(self.place.directory)
        _machine.systemctl("daemon-reload")
        if self.active:
            _machine.systemctl("restart", unit)
        if self.masks:
            _machine.systemctl("unmask", self.masks)
        if self.package is not None and self.package.active:
            _machine.systemctl("enable", "--now", self.masks)


# -- taking away ------------------------------------------------------------------------------------------------------


def leftovers(wanted: set[str]) -> list[str]:
    """Names of exporters of ours that are on this host and not among those that are wanted."""
    units = (re.fullmatch(r"holdfast-exporter-(.+)\.service", name) for name in _list(UNITS))
    found = {match[1] for match in units if match} | {name for place in (ETC, OPT) for name in _list(place)}
    return sorted(name for name in found - wanted if re.fullmatch(NAME, name))


def remove(name: str, kept_units: set[str]) -> list[str]:
    """Take an exporter away: unit, files, versions, account, and the role in the server that it looked at.

    Args:
        kept_units: of packages, whose place is still taken by other exporters.

    Returns:
        what could not be taken away and is not the host's own, a sentence each.
    """
    unit, account = f"holdfast-exporter-{name}.service", f"exporter-{name}"
    declared = declared_before(name)
    _machine.systemctl("disable", "--now", unit, check=False)  # there may be none
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(UNITS, unit))
    package = declared.get("package_unit")
    if package and package not in kept_units and _machine.is_masked(os.path.join(UNITS, package)):
        _machine.systemctl("unmask", package)  # it stays stopped and disabled
    _machine.systemctl("daemon-reload")
    warnings = list(_remove_role(account, declared.get("role")))
    if _machine.has_account(account):
        _machine.remove_account(account)
    for directory in (ETC, OPT):
        shutil.rmtree(os.path.join(directory, name), ignore_errors=True)
        with contextlib.suppress(OSError):  # there are others, or none
            os.rmdir(directory)
    return warnings


def _remove_role(account: str, role: Mapping[str, Any] | None) -> Iterator[str]:
    if role and _monitor_role.is_there(role):
        _monitor_role.absent(account, role)
    elif role:
        yield f"The role {account} was not removed: no server listens on {_monitor_role.socket_of(role)}."


def _list(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
