# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis and Valkey, real servers: backed up while they are written to, verified, restored with their files replaced."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import HoldfastError, Refused, VersionMismatch
from ansible_collections.holdfast.ops.tests.support.redis import BUILDS, Build, Service, contents, fill
from ansible_collections.holdfast.ops.tests.support.redis_component import Sessions
from ansible_collections.holdfast.ops.tests.support.servers import wait_until


@pytest.fixture(params=sorted(BUILDS))
def build(request: pytest.FixtureRequest) -> Build:
    """Each server that comes in a wheel."""
    return BUILDS[request.param]


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    with contextlib.closing(Sessions(tmp_path)) as made:
        yield made


@pytest.mark.parametrize("level", ["counts", "digest"])
def test_a_backup_is_verified_at_every_level(build: Build, sessions: Sessions, level: str) -> None:
    with Service(build) as server:
        fill(server)
        made = sessions.backup(server, fingerprint=level)
    assert made.fingerprint == level
    assert made.source["product"] == build.product
    for depth in ("stat", "checksum", "archive", "restore"):
        (finding,) = sessions.verify(depth, bin_dir=build.bin_dir).findings
        assert finding.ok, finding.problems
        assert finding.level == depth
    assert finding.proof is not None
    assert finding.proof.proved
    assert finding.proof.details["sampled"] > 500
    assert not list(Path(sessions.place.scratch_dir).iterdir())


@pytest.mark.parametrize("level", ["none", "estimate"])
def test_what_cannot_prove_does_not_claim_to(sessions: Sessions, level: str) -> None:
    build = BUILDS["valkey" if "valkey" in BUILDS else "redis"]
    with Service(build) as server, server.client() as client:
        client.set("a", "1")
        sessions.backup(server, fingerprint=level)
    proof = sessions.verify_restore(bin_dir=build.bin_dir)
    assert proof.details["keys"] == 1
    assert not proof.proved


def test_the_fingerprint_is_of_the_moment_that_was_dumped(build: Build, sessions: Sessions) -> None:
    """Someone writes all the while; keys expire meanwhile. Neither makes a difference."""
    with Service(build) as server:
        fill(server)
        done = threading.Event()

        def write() -> None:
            with server.client() as client:
                number = 0
                while not done.is_set():
                    number += 1
                    client.set(f"string:{number % 3000}", os.urandom(20))
                    client.set(f"soon:{number}", "gone", px=300)
                    client.delete(f"number:{number % 6}")
                    client.sadd("intset:600", number)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            sessions.backup(server, fingerprint="digest")
        finally:
            done.set()
            writer.join()
    proof = sessions.verify_restore(bin_dir=build.bin_dir)
    assert proof.proved, proof.differences


def test_the_age_of_a_backup_is_that_of_its_data(build: Build, sessions: Sessions) -> None:
    with Service(build) as server:
        options = server.options()
        first = sessions.run_backup(options, max_age=3600.0)
        second = sessions.run_backup(options, max_age=3600.0)
        other = sessions.run_backup({**options, "fingerprint": "digest"}, max_age=3600.0)
    assert (first.changed, second.changed, other.changed) == (True, False, True)
    assert first.backup is not None
    assert first.backup.snapshot_at <= first.backup.finished_at


@pytest.mark.parametrize("append_only", ["yes", "no"])
def test_a_restore_brings_everything_back(build: Build, sessions: Sessions, append_only: str) -> None:
    with Service(build, "--appendonly", append_only) as server:
        fill(server)
        before = contents(server)
        sessions.backup(server, fingerprint="digest")
        with server.client() as client:
            client.flushall()
            client.set("mistake", "1")
        outcome = sessions.restore(server)
        assert outcome.proof is not None
        assert outcome.proof.proved
        assert contents(server) == before
        with server.client() as client:
            # Writing is possible again, and the append-only file is on and survives.
            client.set("written after", "1")
            assert client.config_get("appendonly") == {"appendonly": append_only}
            assert 0 < client.pttl("expiring:7") <= 3_600_007
            if append_only == "no":
                wait_until(lambda: not client.info("persistence")["rdb_bgsave_in_progress"], "the server's own save")
                client.save()
        server.kill()
        server.start()
        assert contents(server) == {**before, (0, b"written after"): ("string", b"1", False)}
        previous = Path(str(outcome.proof.details["previous"]))
        assert previous.parent == server.data
        (server.data / "gone").mkdir()
        assert {
            path.stat().st_uid for path in server.data.iterdir() if path not in (previous, server.data / "gone")
        } == {server.data.stat().st_uid}


def test_what_was_replaced_can_be_had_again(build: Build, sessions: Sessions) -> None:
    with Service(build, "--appendonly", "yes") as server, server.client() as client:
        client.set("a", "old")
        sessions.backup(server)
        client.set("a", "new")
        outcome = sessions.restore(server)
        assert outcome.proof is not None
        server.stop()
        previous = Path(str(outcome.proof.details["previous"]))
        for path in previous.iterdir():
            target = server.data / path.name
            if target.exists():
                target.rename(server.home / f"away-{path.name}")
            path.rename(target)
        server.start()
        assert client.get("a") == b"new"


def test_previous_files_are_removed_when_told_so(build: Build, sessions: Sessions) -> None:
    with Service(build) as server, server.client() as client:
        client.set("a", "1")
        sessions.backup(server)
        outcome = sessions.restore(server, keep_previous=False)
        assert outcome.proof is not None
        assert outcome.proof.details["previous"] is None
        assert not list(server.data.glob("holdfast*"))
        assert client.get("a") == b"1"


def test_a_server_that_is_used_is_not_replaced_unasked(build: Build, sessions: Sessions) -> None:
    with Service(build) as server, server.client() as client:
        client.set("a", "1")
        sessions.backup(server)
        client.set("a", "2")
        pid = server.pid
        with pytest.raises(Refused, match=server.where):
            sessions.restore(server, confirm=False)
        checked = sessions.restore(server, confirm=False, check=True)
        assert checked.plan.live == server.where
        assert any("dump.rdb" in line or "append-only" in line for line in checked.plan.summary)
        assert client.get("a") == b"2"
        assert server.pid == pid
        assert not list(server.data.glob("holdfast*"))


def test_an_empty_server_needs_no_confirmation(build: Build, sessions: Sessions) -> None:
    with Service(build) as server:
        fill(server)
        before = contents(server)
        sessions.backup(server)
    with Service(build, "--appendonly", "yes") as other:
        sessions.restore(other, confirm=False)
        assert contents(other) == before


@pytest.mark.skipif(len(BUILDS) < 2, reason="there is no wheel of Redis for this Python")
def test_redis_goes_to_valkey_and_not_back(sessions: Sessions) -> None:
    with Service(BUILDS["redis"]) as old, Service(BUILDS["valkey"], "--appendonly", "yes") as new:
        fill(old)
        sessions.backup(old, fingerprint="digest")
        outcome = sessions.restore(new, confirm=False)
        assert outcome.proof is not None
        assert outcome.proof.proved, outcome.proof.differences
        assert contents(new) == contents(old)
        sessions.backup(new)
        with pytest.raises(VersionMismatch):
            sessions.restore(old)
        with pytest.raises(HoldfastError) as caught:
            sessions.verify_restore(bin_dir=BUILDS["redis"].bin_dir)
        assert caught.value.code == "version_mismatch"
