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
from ._manifest import LEVELS
from ._repositories._registry import REPOSITORIES
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
        options.update(store.OPTIONS)
    return options


REPOSITORY = Spec(
    {
        "component": {"type": "str", "required": True},
        "repositories": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": repository_options(),
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

LEVEL = Spec({"level": {"type": "str", "choices": list(LEVELS), "default": "checksum"}})


def backup_spec(engine: type[Engine]) -> Spec:
    """All options of `<engine>_backup`."""
    own = Spec({**engine.OPTIONS, **engine.BACKUP_OPTIONS})
    return own + REPOSITORY + ENCRYPTION + REPORTING + BACKUP


def restore_spec(engine: type[Engine]) -> Spec:
    """All options of `<engine>_restore`."""
    own = Spec({**engine.OPTIONS, **engine.RESTORE_OPTIONS})
    return own + REPOSITORY + IDENTITY + REPORTING + RESTORE


def defaults(options: Options) -> dict[str, Any]:
    """What each option is when the user says nothing (suboptions stay as given)."""
    return {name: spec.get("default") for name, spec in options.items()}
