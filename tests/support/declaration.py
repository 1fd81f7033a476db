# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small collection of engines and stores of our own, and declarations for them.

They are not the real ones, so that the tests of the declaration say what any engine or store may rely on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._model import Declaration
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._parse import parse
from ansible_collections.holdfast.ops.plugins.module_utils._spec import Spec

COMMON: dict[str, Any] = {
    "component": {"type": "str", "required": True},
    "repositories": {"type": "list", "elements": "dict", "required": True},
    "rpo": {"type": "str"},
    "rto": {"type": "str"},
    "lock_wait": {"type": "str", "default": "0s"},
}
BACKUP: dict[str, Any] = {
    "max_age": {"type": "str"},
    "set": {"type": "str"},
    "encryption": {
        "type": "dict",
        "options": {
            "method": {"type": "str", "choices": ["age", "gpg", "none"], "default": "age"},
            "recipients": {"type": "list", "elements": "str"},
            "passphrase_file": {"type": "path"},
        },
        "required_if": [["method", "age", ["recipients"]], ["method", "gpg", ["recipients", "passphrase_file"], True]],
    },
}
RESTORE: dict[str, Any] = {
    "backup_id": {"type": "str", "default": "latest"},
    "confirm": {"type": "str"},
    "services": {"type": "list", "elements": "str", "default": []},
}
OTHERS = {
    "verify": Spec({**COMMON, "engine": {"type": "str", "required": True}, "level": {"type": "str"}}),
    "prune": Spec({**COMMON, "retention": {"type": "dict", "required": True}}),
    "info": Spec({"component": {"type": "str"}, "repositories": {"type": "list", "elements": "dict"}}),
}
POSTGRESQL: dict[str, Any] = {
    "database": {"type": "str", "aliases": ["db"]},
    "databases": {"type": "list", "elements": "str"},
    "host": {"type": "str"},
    "port": {"type": "int", "default": 5432},
    "login_password": {"type": "str", "no_log": True},
    "password_file": {"type": "path"},
    "run_as": {"type": "str"},
    "tls": {"type": "dict", "options": {"mode": {"type": "str", "choices": ["require", "disable"]}}},
}
FILES: dict[str, Any] = {"paths": {"type": "list", "elements": "path", "required": True}}
ENGINES = {
    "postgresql": {
        "backup": Spec(
            {
                **COMMON,
                **BACKUP,
                **POSTGRESQL,
                "format": {"type": "str", "choices": ["custom", "directory"], "default": "custom"},
                "jobs": {"type": "int"},
                "compress": {"type": "bool"},
                "factor": {"type": "float"},
            },
            mutually_exclusive=[["database", "databases"]],
            required_one_of=[["database", "databases"]],
            required_together=[["host", "login_password"]],
            required_by={"password_file": ["host"]},
            required_if=[["format", "directory", ["jobs"]]],
        ),
        "restore": Spec({**COMMON, **RESTORE, **POSTGRESQL, "owner": {"type": "str", "required": True}}),
        **OTHERS,
    },
    "files": {
        "backup": Spec(
            {
                **COMMON,
                **BACKUP,
                **FILES,
                "exclude": {"type": "list", "elements": "str", "default": []},
                "rehash": {"type": "bool"},
            }
        ),
        "restore": Spec({**COMMON, **RESTORE, **FILES}),
        **OTHERS,
    },
}
STORES = {
    "s3": Spec(
        {
            "name": {"type": "str", "required": True},
            "type": {"type": "str"},
            "bucket": {"type": "str", "required": True},
            "prefix": {"type": "str"},
            "endpoint_url": {"type": "str"},
            "secret_key": {"type": "str", "no_log": True},
            "part_size": {"type": "bytes"},
        }
    ),
    "local": Spec({"path": {"type": "path", "required": True}, "prefix": {"type": "str"}}),
}
EXAMPLE = """
repositories:
  primary: {type: s3, endpoint_url: "https://s3.example.com", bucket: backups, prefix: omnidoc}
  offsite: {type: local, path: /mnt/backups}
components:
  - name: omnidoc_db
    engine: postgresql
    database: omnidoc
    repositories: [primary, offsite]
    schedule: "02:00"
    retention: {daily: 30, monthly: 12}
    rpo: 24h
    rto: 30m
    services: [omnidoc-backend, omnidoc-celery]
    drill: weekly
  - name: omnidoc_files
    engine: files
    paths: [/srv/documents]
    repositories: [primary]
"""


def read(components: Any, repositories: Any) -> Declaration:
    return parse(components, repositories, engine_specs=ENGINES, repository_specs=STORES)


def example() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(EXAMPLE)
    return document


def parsed(change: Callable[[dict[str, Any]], object] = lambda document: None) -> Declaration:
    document = example()
    change(document)
    return read(document["components"], document["repositories"])


def with_keys(text: str, component: int = 0) -> Declaration:
    """The example with further keys, written as YAML, in one component."""
    return parsed(lambda document: document["components"][component].update(yaml.safe_load(text)))


FULL = """
repositories:
  primary: {type: s3, endpoint_url: u, bucket: b, prefix: p, secret_key: k, part_size: 16MiB}
  offsite: {type: local, path: /mnt/backups}
components:
  - name: omnidoc_db
    engine: postgresql
    database: omnidoc
    host: db
    port: 5432
    login_password: p
    tls: {mode: require}
    format: directory
    jobs: 2
    compress: true
    repositories: [primary, offsite]
    schedule: "02:00"
    retention: {last: 1, daily: 30, within: 7d, minimum_verified: 3, verified_level: checksum}
    verification: {level: archive, schedule: weekly}
    rpo: 24h
    rto: 30m
    services: [a, b]
    set: nightly
    tags: [gold]
    max_age: 1h
    run_as: postgres
    lock_wait: 5m
    encryption: {method: gpg, recipients: [r], passphrase_file: /p}
    drill: weekly
  - {name: omnidoc_files, engine: files, paths: [/srv], exclude: [x], rehash: no, repositories: [primary]}
"""
