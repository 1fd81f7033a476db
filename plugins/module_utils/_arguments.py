# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specs, composed from what each engine and each store declares of itself.

PRIVATE to the collection; may change without notice.

Every family of options here has a doc fragment of the same name; a unit test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._engines._interface import Engine
from ._engines._registry import ENGINES
from ._manifest import LEVELS
from ._repositories._registry import REPOSITORIES
from ._retention import COUNTS, DEFAULT_MINIMUM_VERIFIED
from ._spec import Spec

Options = Mapping[str, Any]


def repository_options() -> dict[str, Any]:
    """One repository: what is common to all stores, and every store's own options."""
    options: dict[str, Any] = {
        "name": {"type": "str", "required": True},
        "type": {"type": "str", "required": True, "choices": sorted(REPOSITORIES)},
        "prefix": {"type": "str"},
    }
    for store in REPOSITORIES.values():
        for name, option in store.OPTIONS.items():
            options[name] = {key: value for key, value in option.items() if key != "required"}
    return options


def required_by_type() -> list[list[Any]]:
    """What a repository of each type cannot do without, as `required_if`."""
    needs = {
        kind: [name for name, option in store.OPTIONS.items() if option.get("required")]
        for kind, store in sorted(REPOSITORIES.items())
    }
    return [["type", kind, names] for kind, names in needs.items() if names]


REPOSITORY = Spec(
    {
        "component": {"type": "str", "required": True},
        "repositories": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": repository_options(),
            "required_if": required_by_type(),
        },
        "state_dir": {"type": "path", "default": "/var/lib/holdfast"},
        "scratch_dir": {"type": "path"},
        "lock_wait": {"type": "str", "default": "0s"},
        "max_runtime": {"type": "str", "default": "6d"},
        "progress_file": {"type": "path"},
    }
)

ENCRYPTION = Spec(
    {
        "encryption": {
            "type": "dict",
            "options": {
                "method": {"type": "str", "choices": ["age", "gpg", "none"], "default": "none"},
                "recipients": {"type": "list", "elements": "str", "default": []},
                "recipients_file": {"type": "path"},
                "passphrase_file": {"type": "path", "no_log": False},
                "gpg_home": {"type": "path"},
            },
        },
        "compression": {
            "type": "dict",
            "options": {
                "method": {"type": "str", "choices": ["zstd", "none"], "default": "zstd"},
                "level": {"type": "int", "default": 1},
                "threads": {"type": "int", "default": 0},
            },
        },
    }
)

IDENTITY = Spec(
    {
        "identity": {
            "type": "dict",
            "options": {
                "age_file": {"type": "path"},
                "passphrase_file": {"type": "path", "no_log": False},
                "gpg_home": {"type": "path"},
            },
        },
    }
)

REPORTING = Spec(
    {
        "textfile_dir": {"type": "path"},
        "rpo": {"type": "str"},
        "rto": {"type": "str"},
        "history": {
            "type": "dict",
            "options": {
                "host": {"type": "str"},
                "port": {"type": "int", "default": 5432},
                "user": {"type": "str"},
                "password": {"type": "str", "no_log": True},
                "password_file": {"type": "path", "no_log": False},
                "database": {"type": "str", "required": True},
                "table": {"type": "str", "default": "backup_history"},
                "ssl_mode": {"type": "str"},
            },
        },
    }
)

BACKUP = Spec({"max_age": {"type": "str"}, "set": {"type": "str"}})

RESTORE = Spec(
    {
        "backup_id": {"type": "str", "default": "latest"},
        "at": {"type": "str"},
        "confirm": {"type": "str"},
        "services": {"type": "list", "elements": "str", "default": []},
        "safety_backup": {"type": "bool", "default": False},
    }
)

INFO = Spec({"set": {"type": "str"}, "at": {"type": "str"}, "limit": {"type": "int"}})

VERIFY = Spec(
    {
        "backup_id": {"type": "str", "default": "latest"},
        "level": {"type": "str", "choices": list(LEVELS), "default": "checksum"},
    }
)

DRILL = Spec(
    {
        "backup_id": {"type": "str", "default": "latest"},
        "source": {"type": "str"},
        "interval": {"type": "str"},
        "reports_dir": {"type": "path", "default": "/var/lib/holdfast/reports"},
        "keep_reports": {"type": "str", "default": "400d"},
    }
)

RETENTION = Spec(
    {
        "retention": {
            "type": "dict",
            "required": True,
            "options": {
                **{rule: {"type": "int"} for rule in COUNTS},
                "within": {"type": "str"},
                "minimum_verified": {"type": "int", "default": DEFAULT_MINIMUM_VERIFIED},
                "verified_level": {"type": "str", "choices": list(LEVELS), "default": "checksum"},
            },
        },
        "blob_grace": {"type": "str", "default": "7d"},
    }
)

COPY = Spec(
    {
        "source": {"type": "str"},
        "destination": {"type": "str", "required": True},
        "backup_id": {"type": "str", "default": "missing"},
        "newer_than": {"type": "str"},
    }
)

TEXTFILE = Spec({"textfile_dir": {"type": "path"}})


def backup_spec(engine: type[Engine]) -> Spec:
    """All options of `<engine>_backup`."""
    own = Spec({**engine.OPTIONS, **engine.BACKUP_OPTIONS})
    return own + REPOSITORY + ENCRYPTION + REPORTING + BACKUP


def restore_spec(engine: type[Engine]) -> Spec:
    """All options of `<engine>_restore`."""
    own = Spec({**engine.OPTIONS, **engine.RESTORE_OPTIONS})
    return own + REPOSITORY + IDENTITY + REPORTING + RESTORE


def engine_options(engine: type[Engine]) -> dict[str, Any]:
    """What a verification lets be said about an engine: all of it, and nothing is required."""
    options = {**engine.OPTIONS, **engine.VERIFY_OPTIONS}
    return {name: {**option, "required": False} for name, option in options.items()}


def _nested_engines() -> Spec:
    return Spec({name: {"type": "dict", "options": engine_options(each)} for name, each in ENGINES.items()})


def verify_spec() -> Spec:
    """All options of `backup_verify`: which engine a backup needs is known only when its manifest was read."""
    return REPOSITORY + IDENTITY + REPORTING + VERIFY + _nested_engines()


def drill_spec() -> Spec:
    """All options of `backup_drill`."""
    return REPOSITORY + IDENTITY + REPORTING + DRILL + _nested_engines()


def declared_verify_spec(engine: type[Engine]) -> Spec:
    """What can be declared for the verification of a component: the options of its one engine, not nested."""
    return REPOSITORY + IDENTITY + REPORTING + VERIFY + Spec(engine_options(engine))


def declared_drill_spec(engine: type[Engine]) -> Spec:
    """What can be declared for the drills of a component."""
    return REPOSITORY + IDENTITY + REPORTING + DRILL + Spec(engine_options(engine))


def nest_engine(engine: str, arguments: Options) -> dict[str, Any]:
    """Arguments by `declared_verify_spec` as `backup_verify` takes them; for drills likewise."""
    own = {name: value for name, value in arguments.items() if name in engine_options(ENGINES[engine])}
    return {**{name: value for name, value in arguments.items() if name not in own}, engine: own}


def prune_spec() -> Spec:
    """All options of `backup_prune`."""
    return REPOSITORY + RETENTION + TEXTFILE


def info_spec() -> Spec:
    """All options of `backup_info`."""
    return REPOSITORY + INFO


def copy_spec() -> Spec:
    """All options of `backup_copy`."""
    return REPOSITORY + COPY + TEXTFILE


def defaults(options: Options) -> dict[str, Any]:
    """What each option is when the user says nothing (suboptions stay as given)."""
    return {name: spec.get("default") for name, spec in options.items()}
