# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The account that the tools run as swaps files below the scratch directory: what is not its own stays out of reach."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg import _directory, _scratch
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._stored import Stored
from ansible_collections.holdfast.ops.plugins.module_utils._errors import HoldfastError, Refused
from ansible_collections.holdfast.ops.plugins.module_utils._process import Account
from ansible_collections.holdfast.ops.tests.support.component import Component
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres

SECRET = b"not yours\n" * 100_000

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs tools as somebody else")


@pytest.fixture
def component(tmp_path: Path) -> Iterator[Component]:
    with contextlib.closing(Component(tmp_path, compression="none")) as one:
        yield one


@pytest.fixture
def table(pg18: EmbeddedPostgres, database: Any) -> str:
    """A database with one small table."""
    name: str = database(pg18)
    pg18.psql("CREATE TABLE t AS SELECT g FROM generate_series(1, 100) g", db=name)
    return name


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    return path


def swap(path: Path, target: Path) -> None:
    """A symbolic link takes the place of what was there."""
    path.rename(path.with_name(f"{path.name}-moved"))
    path.symlink_to(target)


def test_a_dumped_file(
    pg18: EmbeddedPostgres, table: str, component: Component, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = _directory.finished_files

    def finished(directory: Any, process: Any) -> Any:
        files, ended = real(directory, process)
        (scratch,) = component.scratch.iterdir()
        if ended and not (scratch / "toc.dat").is_symlink():
            swap(scratch / "toc.dat", secret)
        return files, ended

    monkeypatch.setattr(_directory, "finished_files", finished)
    with pytest.raises(Refused, match=r"toc\.dat"):
        component.backup(pg18, table, format="directory")
    assert not any(b"not yours" in path.read_bytes() for path in component.path.rglob("disk/**/*") if path.is_file())
    assert secret.read_bytes() == SECRET


def test_the_directory_of_a_dump(
    pg18: EmbeddedPostgres, table: str, component: Component, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    real = _directory.finished_files

    def finished(directory: Any, process: Any) -> Any:
        files, ended = real(directory, process)
        if ended and not list(victim.iterdir()):
            (scratch,) = component.scratch.iterdir()
            for path in scratch.iterdir():
                (victim / path.name).write_bytes(SECRET)
            swap(scratch, victim)
        return files, ended

    monkeypatch.setattr(_directory, "finished_files", finished)
    component.backup(pg18, table, format="directory")
    assert {path.read_bytes() for path in victim.iterdir()} == {SECRET}
    assert not any(b"not yours" in path.read_bytes() for path in component.path.rglob("disk/**/*") if path.is_file())


def test_the_directory_that_is_unpacked_into(
    pg18: EmbeddedPostgres, table: str, component: Component, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    component.backup(pg18, table, format="directory")
    victim = tmp_path / "victim"
    victim.mkdir()
    real = Stored.unpack

    def unpack(self: Stored, *arguments: Any, **options: Any) -> Any:
        (scratch,) = component.scratch.iterdir()
        swap(scratch / "archive", victim)
        return real(self, *arguments, **options)

    monkeypatch.setattr(Stored, "unpack", unpack)
    with pytest.raises(HoldfastError):
        component.restore(pg18, target_database=f"{table}_2")
    assert list(victim.iterdir()) == []
    assert victim.stat().st_uid == os.geteuid()


@as_root
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_the_contents_that_are_verified(
    pg18: EmbeddedPostgres, table: str, component: Component, monkeypatch: pytest.MonkeyPatch, link: Any
) -> None:
    component.backup(pg18, table, format="directory")
    secret = component.scratch.parent / "secret"  # on the disk of the scratch place, for a hard link
    secret.write_bytes(SECRET)
    real = Stored.unpack

    def unpack(self: Stored, *arguments: Any, **options: Any) -> Any:
        names = real(self, *arguments, **options)
        (scratch,) = component.scratch.iterdir()
        (scratch / "toc.dat").unlink()
        link(secret, scratch / "toc.dat")
        return names

    monkeypatch.setattr(Stored, "unpack", unpack)
    with pytest.raises(Refused, match=r"toc\.dat"):
        component.verify_archive(pg18)
    assert secret.stat().st_uid == 0


@as_root
def test_the_configuration_of_a_scratch_cluster(
    pg18: EmbeddedPostgres, table: str, component: Component, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    component.backup(pg18, table)
    real = _scratch.run

    def run(argv: Any, **options: Any) -> Any:
        done = real(argv, **options)
        if "-D" in argv:
            swap(Path(argv[argv.index("-D") + 1]) / "pg_hba.conf", secret)
        return done

    monkeypatch.setattr(_scratch, "run", run)
    with pytest.raises(Refused, match=r"pg_hba\.conf"):
        component.verify_restore(None, bin_dir=str(pg18.bin_dir), run_as=pg18.user)
    assert secret.read_bytes() == SECRET


@as_root
def test_the_sockets_of_a_scratch_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim, scratch = tmp_path / "victim", Path("/tmp", f"holdfast-{os.getpid()}")
    victim.mkdir()
    scratch.mkdir()
    real = os.mkdir

    def mkdir(path: str, mode: int) -> None:
        real(path, mode)
        swap(Path(path), victim)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(_scratch.os, "mkdir", mkdir)
            with pytest.raises(Refused):
                _scratch._socket_directory(str(scratch), Account("other", 65534, 65534, "/"))
        assert victim.stat().st_uid == 0
    finally:
        (scratch / "s").unlink()
        (scratch / "s-moved").rmdir()
        scratch.rmdir()
