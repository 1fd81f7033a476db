# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of an S3 repository: their spec, and what can be refused before anything is sent.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .._durations import parse_size
from .._errors import InvalidOption
from .._secret_files import private_file, secret

OPTIONS: Mapping[str, Any] = {
    "endpoint_url": {"type": "str"},
    "bucket": {"type": "str", "required": True},
    "region": {"type": "str"},
    "access_key": {"type": "str", "no_log": False},
    "secret_key": {"type": "str", "no_log": True},
    "secret_key_file": {"type": "path", "no_log": False},
    "session_token": {"type": "str", "no_log": True},
    "session_token_file": {"type": "path", "no_log": False},
    "credentials_file": {"type": "path", "no_log": False},
    "profile": {"type": "str"},
    "addressing_style": {"type": "str", "choices": ["auto", "path", "virtual"], "default": "auto"},
    "verify_tls": {"type": "bool", "default": True},
    "ca_file": {"type": "path"},
    "storage_class": {"type": "str"},
    "sse": {"type": "str", "choices": ["none", "AES256", "aws:kms"], "default": "none"},
    "sse_kms_key_id": {"type": "str", "no_log": False},
    "object_lock_days": {"type": "int"},
    "object_lock_mode": {"type": "str", "choices": ["GOVERNANCE", "COMPLIANCE"], "default": "GOVERNANCE"},
    "part_size": {"type": "str", "default": "16MiB"},
    "max_parts": {"type": "int", "default": 10000},
    "parallel": {"type": "int", "default": 3},
    "connect_timeout": {"type": "int", "default": 10},
    "read_timeout": {"type": "int", "default": 60},
    "stall_timeout": {"type": "int", "default": 120},
    "retries": {"type": "int", "default": 2},
    "single_pruner": {"type": "bool", "default": False},
}

_PART_SIZES = (5 * 1024 * 1024, 32 * 1024 * 1024)
_LEAST = {"max_parts": 1, "parallel": 1, "connect_timeout": 1, "read_timeout": 1, "stall_timeout": 1, "retries": 0}


def with_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the default of each that is missing or None."""
    given = {key: value for key, value in options.items() if value is not None}
    return {**{key: spec.get("default") for key, spec in OPTIONS.items()}, **given}


def check(name: str, options: Mapping[str, Any]) -> None:
    """Refuse options that cannot be right, before anything is sent."""
    if not options["bucket"]:
        raise InvalidOption(f"The repository {name} (s3) needs a bucket.", stage="preflight")
    _check_endpoint(name, options["endpoint_url"])
    for key, least in _LEAST.items():
        if options[key] < least:
            raise InvalidOption(f"The repository {name}: {key} must be at least {least}.", stage="preflight")
    if options["object_lock_days"] is not None and options["object_lock_days"] < 1:
        raise InvalidOption(f"The repository {name}: object_lock_days must be at least 1.", stage="preflight")
    if options["sse_kms_key_id"] and options["sse"] != "aws:kms":
        raise InvalidOption(f"The repository {name}: sse_kms_key_id needs sse: aws:kms.", stage="preflight")


def part_size(name: str, text: str) -> int:
    least, most = _PART_SIZES
    try:
        size = parse_size(text)
    except InvalidOption as error:
        raise InvalidOption(f"The repository {name}: part_size {error.message}.", stage="preflight") from error
    if not least <= size <= most:
        raise InvalidOption(f"The repository {name}: part_size lies between 5MiB and 32MiB.", stage="preflight")
    return size


def _check_endpoint(name: str, url: str | None) -> None:
    """Refuse an endpoint that is no plain http(s) URL.

    Raises:
        InvalidOption: it is not one. The URL is not repeated when it may hold a password.
    """
    if url is None:
        return
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise InvalidOption(
            f"The repository {name}: endpoint_url holds a user or password.", hint="Use access_key and secret_key."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidOption(
            f"The repository {name}: endpoint_url is not an http(s) URL: {url}.", hint="Write https://host[:port]."
        )


def is_aws(url: str | None) -> bool:
    host = urlsplit(url).hostname or "" if url else ""
    return not url or host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def credentials(name: str, options: Mapping[str, Any]) -> dict[str, str | None]:
    """Keys from the options or their files, or from `credentials_file` (the format of ~/.aws/credentials).

    All are None when nothing is given.

    Raises:
        InvalidOption: half a pair, both at once, or a file that others can read or that lacks a key.
    """
    whose = f"The repository {name}: "
    found: dict[str, str | None] = {
        "access_key": options["access_key"],
        "secret_key": secret(options, "secret_key", whose),
        "session_token": secret(options, "session_token", whose),
    }
    path = options["credentials_file"]
    if path and (found["access_key"] or found["secret_key"]):
        raise InvalidOption(f"The repository {name}: give either credentials_file or access_key and secret_key.")
    if path:
        found = _from_file(name, path, options["profile"] or "default")
    if bool(found["access_key"]) != bool(found["secret_key"]):
        raise InvalidOption(f"The repository {name}: access_key and secret_key belong together; one is missing.")
    return found


def _from_file(name: str, path: str, section: str) -> dict[str, str | None]:
    data = private_file(path, f"The repository {name}: credentials_file")
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(data.decode("utf-8"))
        values = parser[section]
    except UnicodeDecodeError:
        raise InvalidOption(f"The repository {name}: {path} cannot be read: it is not UTF-8.") from None
    except KeyError:
        raise InvalidOption(f"The repository {name}: {path} has no section [{section}].") from None
    except configparser.Error as error:
        # Without its own words: they repeat the line.
        raise InvalidOption(
            f"The repository {name}: {path} is not in the format of ~/.aws/credentials ({type(error).__name__})."
        ) from None
    return {
        "access_key": values.get("aws_access_key_id"),
        "secret_key": values.get("aws_secret_access_key"),
        "session_token": values.get("aws_session_token"),
    }


def readable(name: str, option: str, path: str) -> str:
    try:
        with open(path, "rb"):
            return path
    except OSError as error:
        raise InvalidOption(f"The repository {name}: {option} {path} cannot be read: {error.strerror}.") from error
