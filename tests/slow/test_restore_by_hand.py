# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restoring without holdfast: the commands of docs/manifest.md and of the manifest itself, run by a shell.

Needs Debian's age, zstd and gnupg: tests/slow/prepare installs them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.tests.support.dataset import describe, load_realistic
from ansible_collections.holdfast.ops.tests.support.playbook import run_playbook
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres
from ansible_collections.holdfast.ops.tests.support.servers import short_directory

pytestmark = pytest.mark.ansible

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "manifest.md"
DATABASE = "omnidoc"


@pytest.fixture
def place() -> Iterator[Path]:
    directory = short_directory("hf-hand-")
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def lost() -> Iterator[EmbeddedPostgres]:
    """The server that is backed up."""
    with EmbeddedPostgres(18) as server:
        server.create_database(DATABASE)
        load_realistic(server, DATABASE, rows=300)
        yield server


@pytest.fixture
def found() -> Iterator[EmbeddedPostgres]:
    """The server that the backup is restored into: fresh, and no superuser called anything else."""
    with EmbeddedPostgres(18) as server:
        yield server


def back_up(server: EmbeddedPostgres, place: Path, **options: object) -> tuple[Path, Path, list[str]]:
    """Back the database up, encrypted: the directory of its artefacts, the key, and the manifest's own lines."""
    key = place / "identity.txt"
    subprocess.run(["age-keygen", "-o", key], check=True, capture_output=True)
    recipient = subprocess.run(["age-keygen", "-y", key], check=True, capture_output=True, text=True).stdout.strip()
    component = {
        "name": "omnidoc_db",
        "engine": "postgresql",
        "database": DATABASE,
        "login_unix_socket": str(server.socket_dir),
        "login_port": server.port,
        "login_user": "postgres",
        "bin_dir": str(server.bin_dir),
        "state_dir": str(place / "state"),
        "repositories": ["primary"],
        "encryption": {"method": "age", "recipients": [recipient]},
        **options,
    }
    variables = {
        "ansible_become": False,
        "holdfast_repositories": {"primary": {"type": "local", "path": str(place / "repository")}},
        "holdfast_components": [component],
    }
    run_playbook("holdfast.ops.backup", place, hosts={"localhost": variables}).succeeded()
    (manifest,) = (place / "repository" / "omnidoc_db" / "manifests").glob("*.json")
    (artefacts,) = (place / "repository" / "omnidoc_db" / "data").glob(f"*/*/*/{manifest.stem}")
    return artefacts, key, json.loads(manifest.read_text())["by_hand"]


def shell(server: EmbeddedPostgres, directory: Path, script: str) -> str:
    """Run lines as a person would: a shell in the directory of the artefacts, PostgreSQL's tools in PATH."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env={**server.env, "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("options", [{}, {"format": "directory", "jobs": 2}], ids=["custom", "directory"])
def test_the_lines_of_the_manifest(
    lost: EmbeddedPostgres, found: EmbeddedPostgres, place: Path, options: dict[str, object]
) -> None:
    artefacts, key, lines = back_up(lost, place, **options)
    script = "\n".join(lines).replace("/path/to/the/age/identity", str(key))
    assert str(key) in script
    said = shell(found, artefacts, script)
    assert ": OK" in said
    assert describe(found, DATABASE) == describe(lost, DATABASE)


def test_the_commands_of_the_document(lost: EmbeddedPostgres, found: EmbeddedPostgres, place: Path) -> None:
    artefacts, key, _lines = back_up(lost, place)
    text = DOCUMENT.read_text().split("## Restore by hand", 1)[1]
    commands = [line.strip()[2:] for line in re.findall(r"^\s+\$ .*$", text, re.MULTILINE)]
    assert [command.split()[0] for command in commands] == ["sha256sum", "cat", "cat", "createdb", "cat"]
    script = "\n".join(commands).replace("-i identity.txt", f"-i {key}")
    said = shell(found, artefacts, script)
    assert "omnidoc.dump.zst.age: OK" in said
    before = describe(lost, DATABASE)
    assert describe(found, DATABASE) == before
    assert describe(found, "omnidoc_beside")["rows"] == before["rows"]


def test_a_flipped_bit_stops_at_the_first_command(lost: EmbeddedPostgres, found: EmbeddedPostgres, place: Path) -> None:
    artefacts, _key, lines = back_up(lost, place)
    dump = artefacts / "omnidoc.dump.zst.age"
    data = bytearray(dump.read_bytes())
    data[len(data) // 2] ^= 1
    dump.write_bytes(data)
    with pytest.raises(AssertionError, match=r"omnidoc\.dump\.zst\.age: FAILED"):
        shell(found, artefacts, "\n".join(lines))
    assert DATABASE not in found.databases()
