# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From `holdfast_exporters` to exporters, or to all of its problems at once.

PRIVATE to the collection; may change without notice. No value is repeated in a problem: it may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from .._declaration._elements import named_elements
from .._declaration._report import InvalidDeclaration, Report
from .._declaration._spec import check_by_kind, what
from ._catalogue import KINDS
from ._model import (
    ARCHIVE,
    CADVISOR,
    FILES,
    INSTALL_METHODS,
    NO_TLS,
    PACKAGE,
    REDIS,
    TLS_MODES,
    Archive,
    Exporter,
    Kind,
    Upstream,
)

VARIABLE = "holdfast_exporters"
ARCHITECTURES = ("amd64", "arm64")

COMMON: Mapping[str, Mapping[str, Any]] = {
    "name": {"type": "str", "required": True},
    "kind": {"type": "str", "required": True},
    "listen": {"type": "str"},
    "tls": {"type": "str", "choices": list(TLS_MODES)},
    "tls_certificate": {"type": "path"},
    "tls_key": {"type": "path", "no_log": False},
    "basic_auth": {"type": "dict", "no_log": True},
    "install_method": {"type": "str", "choices": list(INSTALL_METHODS)},
    "archive": {
        "type": "dict",
        "options": {
            "version": {"type": "str"},
            "url": {"type": "str"},
            "path": {"type": "path"},
            "checksum": {"type": "raw"},
        },
        "mutually_exclusive": [["url", "path"]],
    },
    "arguments": {"type": "list", "elements": "str", "default": []},
}
"""The keys that every exporter has, whatever its kind."""

NAME = r"[a-z][a-z0-9-]{0,21}"
"""With `exporter-` before it, the name of an account, which has 31 characters at most."""
_LISTEN = re.compile(r"(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5})")
_LOOPBACK = re.compile(r"localhost|127\.[0-9.]+|\[?::1\]?")
_VERSION = re.compile(r"[0-9][A-Za-z0-9.+~-]{0,40}")
_CHECKSUM = re.compile(r"(?:sha256:)?(?P<hex>[0-9a-fA-F]{64})")
_ARGUMENT = re.compile(r"--?[a-z][A-Za-z0-9._-]*(?:=[^\n\0]*)?")
_OURS = re.compile(
    r"--?(?:no-)?(?:web\.|tls-server-|basic-auth-|listen_ip\b|port\b|config\.(?:file|path|check)\b"
    r"|(?:redis|mongodb)\.(?:addr|uri|user|password)(?:=|\Z)|redis\.password-file\b|collector\.textfile\.directory\b"
    r"|collect\.interval\b|backrest\.(?:config|stanza-include)(?:=|\Z))"
)
"""Flags that keys stand for. Everybody on the host can read a command line, so none may hold a password."""
_USER = re.compile(r"[^:\x00-\x1f]{1,64}")
_MOST_BYTES = 72
"""Of a password; bcrypt, which it is kept as, reads no more."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f]")

SPECS = {name: replace(kind.constraints, options=kind.options) for name, kind in KINDS.items()}


def parse_exporters(value: Any, *, textfile_dir: str = "", mirror: str = "") -> tuple[Exporter, ...]:
    """Check the whole list and fill in defaults.

    Args:
        textfile_dir: what an exporter of textfiles reads that does not say it itself.
        mirror: takes the place of `https://github.com` in the URLs of the catalogue.

    Raises:
        InvalidDeclaration: with every problem, a line each.
    """
    lines: list[str] = []
    parsed: list[tuple[Exporter, Report]] = []
    for values, place in named_elements(value, VARIABLE, "exporter", lines):
        exporter = _parse(values, place, textfile_dir, mirror)
        if exporter is not None:
            parsed.append((exporter, place))
    taken: dict[int, str] = {}
    for exporter, place in parsed:
        other = taken.setdefault(exporter.port, exporter.name)
        if other != exporter.name:
            place.key("listen").add(f"its port is that of exporter {other}; two cannot listen on one port")
    if lines:
        raise InvalidDeclaration(lines)
    return tuple(exporter for exporter, _place in parsed)


def ports_of(exporters: tuple[Exporter, ...]) -> Iterator[tuple[int, str]]:
    """The ports of the host that exporters listen on, each with what it is of."""
    for exporter in exporters:
        yield exporter.port, f"exporter {exporter.name}"


def is_loopback(address: str) -> bool:
    """Whether only the host itself reaches an address."""
    return _LOOPBACK.fullmatch(address) is not None


def _parse(values: Mapping[Any, Any], report: Report, textfile_dir: str, mirror: str) -> Exporter | None:
    before = report.count
    given = check_by_kind(values, "kind", SPECS, COMMON, report)
    if "name" in given and not re.fullmatch(NAME, given["name"]):
        report.key("name").add("must be up to 22 lower-case letters, digits and -, and begin with a letter")
    _check_arguments(given.get("arguments", []), report.key("arguments"))
    if report.count > before or given.get("kind") not in KINDS:
        return None
    kind = KINDS[given["kind"]]
    address, port = _listen(given.get("listen"), kind, report.key("listen"))
    options = {
        name: given.get(name, option.get("default")) for name, option in kind.options.items() if not _is_common(name)
    }
    if "textfile_dir" in options and options["textfile_dir"] is None:
        options["textfile_dir"] = textfile_dir or None
    _check_texts(options, kind, report)
    tls = _protection(given, kind, address, report)
    archive = _archive(given, kind, report, mirror)
    if report.count > before:
        return None
    return Exporter(
        name=str(given["name"]),
        kind=str(given["kind"]),
        address=address,
        port=port,
        tls=tls,
        certificate=given.get("tls_certificate", ""),
        key=given.get("tls_key", ""),
        users=dict(given.get("basic_auth", {})),
        archive=archive,
        arguments=tuple(given.get("arguments", ())),
        options=options,
    )


def _is_common(name: str) -> bool:
    return name in COMMON


def _listen(value: str | None, kind: Kind, report: Report) -> tuple[str, int]:
    match = _LISTEN.fullmatch(value) if value is not None else None
    if match is not None and 0 < int(match["port"]) < 65536:
        return match["host"], int(match["port"])
    if value is not None:
        report.add(f"is not an address and a port; write 127.0.0.1:{kind.port} or 0.0.0.0:{kind.port}")
    return "127.0.0.1", kind.port


def _protection(given: Mapping[str, Any], kind: Kind, address: str, report: Report) -> str:
    """TLS and passwords; what is seen from elsewhere is protected, or somebody said that it is not."""
    tls = given.get("tls")
    users = given.get("basic_auth") or {}
    if tls is None and not is_loopback(address):
        report.key("tls").add(
            "is required where others than this host can connect; self_signed, files, or none if meant"
        )
    if kind.web == CADVISOR and tls not in (None, NO_TLS):
        report.key("tls").add("this kind has no TLS; let it listen on 127.0.0.1 only, behind something that has")
    if kind.web == CADVISOR and users:
        report.key("basic_auth").add("this kind has none that holdfast could set up; let it listen on 127.0.0.1 only")
    if kind.web == REDIS and len(users) > 1:
        report.key("basic_auth").add("this kind knows one user only")
    if users and tls in (None, NO_TLS) and not is_loopback(address):
        report.key("basic_auth").add("would be sent in the clear; it needs TLS")
    named = {"tls_certificate", "tls_key"} & set(given)
    if tls == FILES and len(named) < 2:
        report.key("tls").add("files needs tls_certificate and tls_key")
    elif tls != FILES and named:
        report.key("tls").add(f"must be files for {' and '.join(sorted(named))} to have a meaning")
    for option in sorted(named):
        if not re.fullmatch(r"/[^\s:\"'\\%$]+", given[option]):
            report.key(option).add("must be an absolute path without blanks, quotes, colons, % and $")
    _check_users(users, report.key("basic_auth"))
    return tls or NO_TLS


def _check_users(users: Mapping[Any, Any], report: Report) -> None:
    for user, password in users.items():
        if not isinstance(user, str) or not _USER.fullmatch(user):
            report.add("a name of a user is empty, too long, no string, or has a colon")
        elif not isinstance(password, str):
            report.add(f"the password of a user must be a string, and is {what(password)}; quote it")
        elif not password or len(password.encode()) > _MOST_BYTES or _UNPRINTABLE.search(password):
            report.add(f"a password must be of 1 to {_MOST_BYTES} bytes without line breaks")


def _check_arguments(arguments: list[Any], report: Report) -> None:
    for number, argument in enumerate(arguments):
        if not isinstance(argument, str):
            continue  # reported already
        if not _ARGUMENT.fullmatch(argument):
            report.index(number).add("is no flag, such as --log.level=warn")
        elif _OURS.match(argument):
            report.index(number).add("is set by keys of the exporter (listen, tls, basic_auth and those of its kind)")


def _check_texts(options: Mapping[str, Any], kind: Kind, report: Report) -> None:
    """What goes into command lines and environments must be of one line."""
    for name, value in options.items():
        elements = value if isinstance(value, list) else [value]
        if any(isinstance(each, str) and _UNPRINTABLE.search(each) for each in elements):
            report.key(name).add("must not hold line breaks")
        if kind.options[name].get("type") == "path" and value and not re.fullmatch(r"/[^\s'\\]+", value):
            report.key(name).add("must be an absolute path without blanks, quotes and backslashes")
    for name in ("collectors", "no_collectors"):
        for number, each in enumerate(options.get(name) or []):
            if not re.fullmatch(r"[a-z][a-z0-9_]*", str(each)):
                report.key(name).index(number).add("is not the name of a collector")


def _archive(given: Mapping[str, Any], kind: Kind, report: Report, mirror: str) -> Archive | None:
    """Where the program comes from; None for a package."""
    method = given.get("install_method") or (PACKAGE if kind.package is not None else ARCHIVE)
    wanted = given.get("archive")
    if method == PACKAGE:
        if kind.package is None:
            report.key("install_method").add("Debian has no package of this kind; write archive")
        if wanted is not None:
            report.key("archive").add("makes no sense without install_method: archive")
        return None
    if kind.upstream is None:
        report.key("install_method").add("nobody publishes this kind as an archive; write package")
        return None
    return _upstream(wanted or {}, kind.upstream, report.key("archive"), mirror)


def _upstream(wanted: Mapping[str, Any], upstream: Upstream, report: Report, mirror: str) -> Archive | None:
    before = report.count
    version = wanted.get("version") or upstream.default_version
    if version is None:
        report.key("version").add("is required: no version of this kind is pinned")
        return None
    if not _VERSION.fullmatch(version):
        report.key("version").add("is not a version, such as 1.9.1 (without a v)")
    url = wanted.get("url") or upstream.url.replace("https://github.com", mirror.rstrip("/") or "https://github.com")
    if not re.fullmatch(r"https?://[^\s\"'\\]+", url):
        report.key("url").add("must begin with https:// or http://")
    if re.search(r"\{(?!version\}|arch\})", url):
        report.key("url").add("knows only {version} and {arch}")
    checksums = _checksums(wanted.get("checksum"), report.key("checksum"))
    if wanted.get("checksum") is None:
        checksums = dict(upstream.pins.get(version, {}))
        if not checksums:
            pinned = ", ".join(upstream.pins) or "none"
            report.key("checksum").add(f"is required: this version is not pinned (pinned: {pinned})")
    if report.count > before:
        return None
    return Archive(version, url, wanted.get("path", ""), checksums)


def _checksums(value: Any, report: Report) -> dict[str, str]:
    """Architecture → SHA-256 in lower case; one for all where there is only one."""
    each = value if isinstance(value, Mapping) else dict.fromkeys(ARCHITECTURES, value)
    found: dict[str, str] = {}
    if value is None:
        return found
    if not each:
        report.add("is empty")
    for architecture, checksum in each.items():
        match = _CHECKSUM.fullmatch(checksum) if isinstance(checksum, str) else None
        if architecture not in ARCHITECTURES:
            report.add(f"may be one SHA-256, or one for each of {', '.join(ARCHITECTURES)}")
        elif match is None:
            report.add("is no SHA-256, which has 64 hexadecimal digits")
            break
        else:
            found[architecture] = match["hex"].lower()
    return found
