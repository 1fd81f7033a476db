# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets in files of their own: read as they are, when nobody else can read them, for every option that holds one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._arguments import (
    backup_spec,
    copy_spec,
    declared_verify_spec,
    info_spec,
    prune_spec,
    restore_spec,
)
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._server import Server
from ansible_collections.holdfast.ops.plugins.module_utils._engines._registry import ENGINES
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._s3_options import credentials, with_defaults
from ansible_collections.holdfast.ops.plugins.module_utils._secret_files import private_file, secret
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("hush {{ hush }}\n")
    path.chmod(0o600)
    return path


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1))
def test_a_secret_is_what_the_file_holds_without_the_line_feed_at_its_end(file: Path, text: str) -> None:
    file.write_bytes(f"{text}\n".encode())
    assert secret({"key_file": str(file)}, "key") == text


def test_a_secret_comes_from_the_option_or_its_file_and_never_from_both(file: Path) -> None:
    assert secret({}, "key") is None
    assert secret({"key": None, "key_file": None}, "key") is None
    assert secret({"key": "given"}, "key") == "given"
    assert secret({"key_file": str(file)}, "key") == "hush {{ hush }}"
    with pytest.raises(InvalidOption, match="Whose: key and key_file exclude each other"):
        secret({"key": "given", "key_file": str(file)}, "key", "Whose: ")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_file_that_others_can_read_or_change_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(InvalidOption, match=f"key_file {file} can be read by others .mode {mode:04o}") as caught:
        secret({"key_file": str(file)}, "key")
    assert "hush" not in str(caught.value)


def test_a_group_may_read_where_that_is_allowed(file: Path) -> None:
    file.chmod(0o640)
    assert private_file(str(file), "x", group_may_read=True)
    file.chmod(0o660)
    with pytest.raises(InvalidOption):
        private_file(str(file), "x", group_may_read=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.privileged
def test_a_file_of_another_user_is_refused(file: Path) -> None:
    os.chown(file, 12345, 12345)
    with pytest.raises(InvalidOption, match="owner 12345"):
        secret({"key_file": str(file)}, "key")


def test_a_file_that_holds_no_secret_is_refused(file: Path) -> None:
    file.write_bytes(b"\n")
    with pytest.raises(InvalidOption, match="is empty"):
        secret({"key_file": str(file)}, "key")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidOption, match="not UTF-8"):
        secret({"key_file": str(file)}, "key")
    file.unlink()
    with pytest.raises(InvalidOption, match="cannot be read: No such file"):
        secret({"key_file": str(file)}, "key")


def test_the_keys_of_an_s3_repository(file: Path) -> None:
    found = credentials(
        "primary",
        with_defaults({"access_key": "AK", "secret_key_file": str(file), "session_token_file": str(file)}),
    )
    assert found == {"access_key": "AK", "secret_key": "hush {{ hush }}", "session_token": "hush {{ hush }}"}


def test_the_password_of_a_postgresql_server(file: Path) -> None:
    server = Server({"login_host": "db.example.com", "login_password_file": str(file)}, "db")
    assert server.options["login_password"] == "hush {{ hush }}"
    file.write_text("two\nlines\n")
    with pytest.raises(InvalidOption, match="line break"):
        Server({"login_host": "db.example.com", "login_password_file": str(file)}, "db")


def secrets(options: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Every option that holds a secret, with the options that it stands among."""
    for name, option in options.items():
        if option.get("no_log") is True:
            yield options, name
        yield from secrets(option.get("options") or {})


def all_specs() -> Iterator[Mapping[str, Any]]:
    yield from (spec.options for spec in (copy_spec(), info_spec(), prune_spec()))
    for engine in ENGINES.values():
        for make in (backup_spec, restore_spec, declared_verify_spec):
            yield make(engine).options


def test_every_option_that_holds_a_secret_has_a_sibling_that_names_a_file() -> None:
    found = [(among, name) for options in all_specs() for among, name in secrets(options)]
    assert {"secret_key", "session_token", "login_password", "password"} <= {name for _among, name in found}
    for among, name in found:
        assert among.get(f"{name}_file", {}).get("type") == "path", name
