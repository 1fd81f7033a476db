# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fragments of PostgreSQL and `container`, and the module of the backup, document is what the specs take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from ansible_collections.holdfast.ops.plugins.doc_fragments import container, postgresql, postgresql_login
from ansible_collections.holdfast.ops.plugins.module_utils._containers import OPTIONS as CONTAINER
from ansible_collections.holdfast.ops.plugins.module_utils._engines._postgresql import PostgresqlEngine
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._pg._login import LOGIN_SPEC
from ansible_collections.holdfast.ops.plugins.modules import postgresql_backup

COMPARED = ("type", "elements", "required", "choices", "default")


def assert_equal(documentation: Mapping[str, Any], spec: Mapping[str, Any], where: str) -> None:
    assert set(documentation) == set(spec), where
    for name, option in spec.items():
        said, place = documentation[name], f"{where}.{name}"
        assert {key: said.get(key) for key in COMPARED} == {key: option.get(key) for key in COMPARED}, place
        if "options" in option:
            assert_equal(said["suboptions"], option["options"], place)


def test_the_fragment_container_and_its_spec_agree() -> None:
    assert_equal(yaml.safe_load(container.ModuleDocFragment.DOCUMENTATION)["options"], CONTAINER, "container")


def test_the_fragments_postgresql_and_postgresql_login_and_their_spec_agree() -> None:
    spec = {name: option for name, option in PostgresqlEngine.OPTIONS.items() if name not in CONTAINER}
    databases, login = (
        yaml.safe_load(fragment.ModuleDocFragment.DOCUMENTATION)["options"]
        for fragment in (postgresql, postgresql_login)
    )
    assert not set(databases) & set(login)
    assert_equal({**databases, **login}, spec, "postgresql")


def test_the_fragment_postgresql_login_and_the_spec_of_maintenance_agree() -> None:
    spec = {name: each for name, each in LOGIN_SPEC.options.items() if name not in {"database", *CONTAINER}}
    assert_equal(yaml.safe_load(postgresql_login.ModuleDocFragment.DOCUMENTATION)["options"], spec, "postgresql_login")


def test_the_module_and_the_options_of_a_backup_agree() -> None:
    documentation = yaml.safe_load(postgresql_backup.DOCUMENTATION)["options"]
    assert_equal(documentation, PostgresqlEngine.BACKUP_OPTIONS, "postgresql_backup")


def test_every_option_that_could_hold_a_secret_says_whether_it_does() -> None:
    for name, option in {**PostgresqlEngine.OPTIONS, **PostgresqlEngine.BACKUP_OPTIONS}.items():
        if any(word in name for word in ("password", "key", "secret", "token")):
            assert "no_log" in option, name
    assert PostgresqlEngine.OPTIONS["login_password"]["no_log"] is True
