# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd starts: the command line, the environment and the hardened unit of an exporter.

PRIVATE to the collection; may change without notice.

What an exporter must read and others must not (its web configuration, certificate, key) belongs to root, and its group
may read it. They are no credentials of systemd's: those need mounts that some containers do not have. Secrets of the
server that it looks at stand in a file that systemd alone reads, or, where it takes passwords by address, in its
configuration.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from ._model import CADVISOR, NO_TLS, REDIS, TOOLKIT, Exporter, Item, Kind

HEADER = "# Written by holdfast.ops.exporters. Do not edit; a drop-in is the place for changes."
WEB, CERTIFICATE, KEY, CONFIG, ENVIRONMENT = "web.yml", "tls.crt", "tls.key", "config.yml", "environment"
"""The files of an exporter below its directory in /etc."""

HARDENING: Mapping[str, str] = {
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "NoNewPrivileges": "yes",
    "KeyringMode": "private",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "ProcSubset": "pid",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHome": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectProc": "invisible",
    "ProtectSystem": "strict",
    "RemoveIPC": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native",
    # An error instead of a kill: a collector that tries something goes on without it, and the others live.
    "SystemCallErrorNumber": "EPERM",
    "SystemCallFilter": "@system-service",
    "UMask": "0077",
}
"""What holds for every exporter that the catalogue does not except from it."""

_DENIED = "~@privileged @resources"
"""Of the system calls that are allowed above; a group that is named again after this is allowed again."""


def environment(exporter: Exporter, kind: Kind, options: Mapping[str, Any]) -> dict[str, str]:
    """The variables that the exporter is started with; they may hold secrets."""
    found = dict(text.split("=", 1) for text in _written(kind.environment, _values(exporter, options)))
    if kind.web == REDIS and exporter.users:
        ((found["REDIS_EXPORTER_BASIC_AUTH_USERNAME"], found["REDIS_EXPORTER_BASIC_AUTH_PASSWORD"]),) = (
            exporter.users.items()
        )
    return found


def environment_file(variables: Mapping[str, str]) -> str:
    """The content of an `EnvironmentFile=`."""
    lines = [HEADER]
    for name, value in variables.items():
        quoted = "".join(f"\\{character}" if character in '\\"$`' else character for character in value)
        lines.append(f'{name}="{quoted}"')
    return "\n".join([*lines, ""])


def config_file(kind: Kind, options: Mapping[str, Any]) -> str | None:
    """The content of the exporter's own configuration, if it has one."""
    if kind.config is not None:
        return json.dumps({kind.config.key: options[kind.config.option]}, indent=2) + "\n"
    if kind.password_flag and options.get("login_password"):
        return json.dumps(dict.fromkeys(_addresses(options), options["login_password"]), indent=2) + "\n"
    return None


def _addresses(options: Mapping[str, Any]) -> Iterator[str]:
    """The server that is looked at as Redis' exporter calls it: older versions without the user, newer ones with."""
    scheme, _separator, rest = str(options["address"]).rpartition("://")
    yield f"{scheme or 'redis'}://{rest}"
    if options.get("login_user"):
        yield f"{scheme or 'redis'}://{quote(options['login_user'], safe='$&+,;=')}@{rest}"


def arguments(exporter: Exporter, kind: Kind, options: Mapping[str, Any], directory: str) -> list[str]:
    """The command line after the program.

    Args:
        directory: of the exporter's files.
    """
    found = [*_written(kind.arguments, _values(exporter, options))]
    if kind.config is not None:
        found.append(f"{kind.config.flag}={directory}/{CONFIG}")
    elif config_file(kind, options) is not None:
        found.append(f"{kind.password_flag}={directory}/{CONFIG}")
    return [*found, *_web_arguments(exporter, kind, directory), *exporter.arguments]


def _web_arguments(exporter: Exporter, kind: Kind, directory: str) -> Iterator[str]:
    if kind.web == CADVISOR:
        yield f"--listen_ip={exporter.address.strip('[]')}"
        yield f"--port={exporter.port}"
        return
    yield f"--web.listen-address={exporter.address}:{exporter.port}"
    if kind.web == TOOLKIT:
        if needs_web_file(exporter, kind):
            yield f"{kind.web_flag}={directory}/{WEB}"
    elif exporter.tls != NO_TLS:
        yield f"--tls-server-cert-file={directory}/{CERTIFICATE}"
        yield f"--tls-server-key-file={directory}/{KEY}"


def needs_web_file(exporter: Exporter, kind: Kind) -> bool:
    """Whether there is anything that exporter-toolkit has to be told by its file."""
    return kind.web == TOOLKIT and (exporter.tls != NO_TLS or bool(exporter.users))


def web_file(exporter: Exporter, hashes: Mapping[str, str]) -> str:
    """The content of exporter-toolkit's file; paths in it are relative to itself.

    Args:
        hashes: user → bcrypt hash of the password.
    """
    found: dict[str, Any] = {}
    if exporter.tls != NO_TLS:
        found["tls_server_config"] = {"cert_file": CERTIFICATE, "key_file": KEY, "min_version": "TLS12"}
    if hashes:
        found["basic_auth_users"] = dict(hashes)
    return json.dumps(found, indent=2) + "\n"


def flags_of(exporter: Exporter, kind: Kind, options: Mapping[str, Any]) -> list[str]:
    """The flags that the program has to know, without dashes, those behind variables of the environment too."""
    found = [argument.partition("=")[0] for argument in arguments(exporter, kind, options, "")]
    if kind.web == REDIS and exporter.users:
        found.append("--basic-auth-username")
    return [flag.lstrip("-") for flag in found]


def unit(
    exporter: Exporter,
    kind: Kind,
    *,
    program: str,
    directory: str,
    options: Mapping[str, Any],
) -> str:
    """The unit.

    Args:
        program: path of the program.
        directory: of the exporter's files.
    """
    lines = [
        HEADER,
        "[Unit]",
        f"Description=Prometheus exporter {exporter.name}: {kind.title}",
        "Wants=network-online.target",
        "After=network-online.target",
        "# What it looks at may be away for long; it goes on trying.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=exec",
        f"User={exporter.account}",
        f"Group={exporter.account}",
        *(f"SupplementaryGroups={group}" for group in kind.groups),
        *([f"EnvironmentFile={directory}/{ENVIRONMENT}"] if kind.environment or _has_secrets(exporter, kind) else []),
        f"ExecStart={' '.join([program, *map(quoted, arguments(exporter, kind, options, directory))])}",
        "Restart=always",
        "RestartSec=5s",
        "TimeoutStopSec=20s",
        "",
        *hardening(kind),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ]
    return "\n".join(lines)


def hardening(kind: Kind) -> Iterator[str]:
    """The directives that keep the exporter to what it has to do."""
    for name, value in {**HARDENING, **kind.unit}.items():
        if value is None:
            continue
        if name != "SystemCallFilter":
            yield f"{name}={value}"
            continue
        allowed, *again = value.split()
        yield f"{name}={allowed}"
        yield f"{name}={_DENIED}"
        if again:
            yield f"{name}={' '.join(again)}"


def quoted(argument: str) -> str:
    """An argument as `ExecStart=` wants it, with nothing in it that systemd would replace."""
    text = argument.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"'


def _has_secrets(exporter: Exporter, kind: Kind) -> bool:
    return kind.web == REDIS and bool(exporter.users)


def _values(exporter: Exporter, options: Mapping[str, Any]) -> dict[str, Any]:
    return {**options, "account": exporter.account}


def _written(items: Iterable[Item], values: Mapping[str, Any]) -> Iterator[str]:
    for item in items:
        if (item.when and not values.get(item.when)) or (item.unless and values.get(item.unless)):
            continue
        if item.each:
            yield from (item.text.format(**{**values, "item": each}) for each in values.get(item.each) or ())
        else:
            yield item.text.format(**values)
