# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stream: what goes in comes out, in one pass, within a budget, and no repository's fault hides or spreads."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
import zstandard
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    Corrupted,
    DiskFull,
    NoIdentity,
    TimedOut,
    ToolFailed,
    Unavailable,
)
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import Artefact
from ansible_collections.holdfast.ops.plugins.module_utils._process import Process
from ansible_collections.holdfast.ops.plugins.module_utils._stream import _fanout
from ansible_collections.holdfast.ops.plugins.module_utils._stream._codec import (
    Compression,
    Encryption,
    Identity,
)
from ansible_collections.holdfast.ops.plugins.module_utils._stream._fanout import FanOut, ObjectWriter
from ansible_collections.holdfast.ops.plugins.module_utils._stream._read import ArtefactReader
from ansible_collections.holdfast.ops.plugins.module_utils._stream._source import (
    IteratorSource,
    ProcessSource,
    bytes_source,
)
from ansible_collections.holdfast.ops.plugins.module_utils._stream._write import ArtefactWriter, Stream
from ansible_collections.holdfast.ops.tests.support.faulty import Fault, FaultyRepository, no_fault
from hypothesis import given, settings
from hypothesis import strategies as st

PART = 64 * 1024


def repository(path: Path, name: str = "a", fault: Fault = no_fault, **attributes: object) -> FaultyRepository:
    return FaultyRepository(name, str(path / name), fault, **attributes)


def stored_files(path: Path) -> dict[str, bytes]:
    """What really lies in a repository's directory, by key."""
    top = path / "c"
    return {str(p.relative_to(top)): p.read_bytes() for p in sorted(top.rglob("*")) if p.is_file()}


@pytest.fixture
def age(tmp_path: Path) -> tuple[Encryption, Identity]:
    key = pyrage.x25519.Identity.generate()
    file = tmp_path / "identity"
    file.write_text(f"# a comment\n{key}\n")
    file.chmod(0o600)
    return Encryption("age", (str(key.to_public()),)), Identity(str(file))


class TestCutting:
    @settings(max_examples=25, deadline=None)
    @given(
        sizes=st.lists(st.integers(0, 300), max_size=12),
        part=st.integers(1, 64),
        max_parts=st.integers(1, 5),
    )
    def test_objects_joined_are_the_stream_and_none_exceeds_the_limits(
        self, tmp_path_factory: pytest.TempPathFactory, sizes: list[int], part: int, max_parts: int
    ) -> None:
        path = tmp_path_factory.mktemp("cut")
        store = repository(path, part_size=part, max_parts=max_parts)
        data = [os.urandom(size) for size in sizes]
        fanout = FanOut([store])
        writer = ObjectWriter(fanout, "data/x")
        for piece in data:
            writer.write(piece)
        digest = writer.close()
        fanout.drain()
        fanout.close(abort=False)

        whole = b"".join(data)
        found = stored_files(path / "a")
        keys = [key for key, _size, _sha in writer.objects]
        assert keys == ["data/x", *(f"data/x.{n:03d}" for n in range(1, len(keys)))]
        assert b"".join(found[key] for key in keys) == whole
        assert sorted(found) == sorted(keys)
        assert digest == hashlib.sha256(whole).hexdigest()
        for key, size, sha in writer.objects:
            assert size == len(found[key]) <= part * max_parts
            assert sha == hashlib.sha256(found[key]).hexdigest()

    def test_memory_is_the_budget_whatever_the_length(self, tmp_path: Path) -> None:
        store = repository(tmp_path, part_size=1 << 20)
        fanout = FanOut([store], memory=4 << 20)
        writer = ObjectWriter(fanout, "data/x")
        for _number in range(40):
            writer.write(bytes(1 << 20))
        writer.close()
        fanout.drain()
        fanout.close(abort=False)
        assert len({id(buffer) for buffer in fanout._free}) <= 4
        assert (tmp_path / "a/c/data/x").stat().st_size == 40 << 20

    def test_a_slow_repository_holds_the_source_back(self, tmp_path: Path) -> None:
        gate = threading.Event()

        def wait(method: str, key: str, nth: int) -> None:
            if method == "write_part":
                gate.wait(30)

        read = 0

        def chunks() -> Iterator[bytes]:
            nonlocal read
            for _number in range(100):
                read += 1
                yield bytes(PART)

        store = repository(tmp_path, fault=wait)
        fanout = FanOut([store], memory=4 * PART)
        writer = ArtefactWriter(fanout, Compression("none"), Encryption())
        thread = threading.Thread(
            target=lambda: writer.store(Stream("x", "dump", IteratorSource(chunks())), "data/"), daemon=True
        )
        thread.start()
        while store.calls.get("write_part", 0) < store.parallel:
            time.sleep(0.01)
        thread.join(0.5)
        assert thread.is_alive()
        assert read <= 6  # four buffers, and the chunk in hand
        gate.set()
        thread.join(30)
        fanout.drain()
        fanout.close(abort=False)
        assert (tmp_path / "a/c/data/x").stat().st_size == 100 * PART


class TestFanOut:
    def run(self, stores: list[FaultyRepository], data: bytes) -> FanOut:
        fanout = FanOut(stores, memory=6 * PART)
        writer = ObjectWriter(fanout, "data/x")
        try:
            writer.write(data)
            writer.close()
            fanout.drain()
        except BaseException:
            fanout.close(abort=True)
            raise
        fanout.close(abort=False)
        return fanout

    def test_every_repository_gets_the_same_bytes_from_one_read(self, tmp_path: Path) -> None:
        data = os.urandom(10 * PART + 7)
        self.run([repository(tmp_path, n) for n in "abc"], data)
        for name in "abc":
            assert stored_files(tmp_path / name) == {"data/x": data}

    @pytest.mark.parametrize("method", ["begin", "write_part", "complete"])
    def test_one_that_fails_is_dropped_and_leaves_nothing(self, tmp_path: Path, method: str) -> None:
        def fail(called: str, key: str, nth: int) -> None:
            if called == method and nth >= 2 - (method != "write_part"):
                raise DiskFull("full")

        data = os.urandom(9 * PART)
        fanout = self.run([repository(tmp_path, "a"), repository(tmp_path, "b", fail)], data)
        assert stored_files(tmp_path / "a") == {"data/x": data}
        assert stored_files(tmp_path / "b") == {}
        good, bad = fanout.legs
        assert good.failure is None
        assert isinstance(bad.failure, DiskFull)

    def test_all_failing_raises_the_reason(self, tmp_path: Path) -> None:
        def fail(called: str, key: str, nth: int) -> None:
            raise DiskFull("no room")

        with pytest.raises(DiskFull, match="no room"):
            self.run([repository(tmp_path, "a", fail)], bytes(3 * PART))
        assert stored_files(tmp_path / "a") == {}

    def test_a_short_absence_is_retried(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def once(called: str, key: str, nth: int) -> None:
            if called == "write_part" and nth == 2:
                raise Unavailable("away")

        data = os.urandom(5 * PART)
        fanout = self.run([repository(tmp_path, "a", once)], data)
        assert fanout.legs[0].failure is None
        assert stored_files(tmp_path / "a") == {"data/x": data}

    def test_retries_are_bounded(self, tmp_path: Path) -> None:
        def never(called: str, key: str, nth: int) -> None:
            if called == "put":
                raise Unavailable("away")

        store = repository(tmp_path, "a", never)
        with pytest.raises(Unavailable):
            self.run([store], b"small")
        assert store.calls["put"] == 1 + _fanout.RETRIES

    def test_one_that_stalls_is_dropped_in_time_and_the_others_go_on(self, tmp_path: Path) -> None:
        forever = threading.Event()

        def hang(called: str, key: str, nth: int) -> None:
            if called == "write_part" and nth > 2:
                forever.wait(60)

        data = os.urandom(30 * PART)
        started = time.monotonic()
        stores = [repository(tmp_path, "a"), repository(tmp_path, "b", hang, stall_timeout=1.0)]
        try:
            fanout = self.run_stalling(stores, data)
        finally:
            forever.set()
        assert isinstance(fanout.legs[1].failure, TimedOut)
        assert "b took no part for 1 s" in str(fanout.legs[1].failure)
        assert stored_files(tmp_path / "a") == {"data/x": data}
        assert time.monotonic() - started < 30

    def run_stalling(self, stores: list[FaultyRepository], data: bytes) -> FanOut:
        grace, _fanout.ABORT_GRACE = _fanout.ABORT_GRACE, 0.2
        try:
            return self.run(stores, data)
        finally:
            _fanout.ABORT_GRACE = grace

    def test_parts_are_in_flight_together_but_no_more_than_allowed(self, tmp_path: Path) -> None:
        together = threading.Barrier(3, timeout=10)

        def meet(called: str, key: str, nth: int) -> None:
            if called == "write_part" and nth <= 3:
                together.wait()  # breaks unless three threads are here at once

        store = repository(tmp_path, "a", meet, parallel=3)
        self.run([store], os.urandom(12 * PART))
        assert store.most_in_flight == 3

    def test_a_broken_part_never_lets_the_object_complete(self, tmp_path: Path) -> None:
        """The other parts may end after the broken one: the object must not be completed without it."""
        late = threading.Event()

        def order(called: str, key: str, nth: int) -> None:
            if called == "write_part" and nth == 1:
                late.set()
                raise DiskFull("full")
            if called == "write_part":
                late.wait(10)

        store = repository(tmp_path, "a", order)
        with pytest.raises(DiskFull):
            self.run([store], os.urandom(3 * PART))
        assert store.calls.get("complete", 0) == 0
        assert stored_files(tmp_path / "a") == {}


class TestCodec:
    def round_trip(
        self, path: Path, data: bytes, compression: Compression, encryption: Encryption, identity: Identity
    ) -> tuple[Artefact, bytes]:
        store = repository(path)
        fanout = FanOut([store], memory=8 * PART)
        artefact = ArtefactWriter(fanout, compression, encryption).store(
            Stream("x.bin", "dump", IteratorSource(data[i : i + 9999] for i in range(0, len(data), 9999))), "data/"
        )
        fanout.drain()
        fanout.close(abort=False)
        return artefact, ArtefactReader(store, identity).read_bytes(artefact)

    @pytest.mark.parametrize("size", [0, 1, PART, 700_001])
    @pytest.mark.parametrize("method", ["zstd", "none"])
    @pytest.mark.parametrize("encrypted", [True, False])
    def test_what_goes_in_comes_out(
        self, tmp_path: Path, age: tuple[Encryption, Identity], size: int, method: str, encrypted: bool
    ) -> None:
        data = os.urandom(size // 2) + bytes(size - size // 2)
        encryption = age[0] if encrypted else Encryption()
        artefact, found = self.round_trip(tmp_path, data, Compression(method), encryption, age[1])
        assert found == data
        assert artefact.source_size == size
        raw = stored_files(tmp_path / "a")[artefact.objects[0].key]
        assert artefact.sha256 == hashlib.sha256(raw).hexdigest()
        assert artefact.name == "x.bin" + (".zst" if method == "zstd" else "") + (".age" if encrypted else "")

    def test_others_can_read_it_with_standard_tools(self, tmp_path: Path, age: tuple[Encryption, Identity]) -> None:
        data = os.urandom(1000) * 300
        artefact, _found = self.round_trip(tmp_path, data, Compression(level=3), age[0], age[1])
        raw = stored_files(tmp_path / "a")[artefact.objects[0].key]
        key = pyrage.x25519.Identity.from_str(Path(age[1].age_file or "").read_text().splitlines()[1])
        assert zstandard.ZstdDecompressor().decompressobj().decompress(pyrage.decrypt(raw, [key])) == data

    def test_ssh_keys_are_recipients_and_identities(self, tmp_path: Path) -> None:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        key = Ed25519PrivateKey.generate()
        file = tmp_path / "id_ed25519"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            )
        )
        file.chmod(0o600)
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        encryption = Encryption("age", (public.decode(),))
        _artefact, found = self.round_trip(tmp_path, b"secret", Compression(), encryption, Identity(str(file)))
        assert found == b"secret"

    def test_the_wrong_identity_is_told_apart_from_damage(
        self, tmp_path: Path, age: tuple[Encryption, Identity]
    ) -> None:
        other = tmp_path / "other"
        other.write_text(str(pyrage.x25519.Identity.generate()))
        other.chmod(0o600)
        with pytest.raises(NoIdentity, match="None of the identities"):
            self.round_trip(tmp_path, b"x" * 100, Compression(), age[0], Identity(str(other)))
        with pytest.raises(NoIdentity, match="no identity was given"):
            self.round_trip(tmp_path / "2", b"x" * 100, Compression(), age[0], Identity())

    @pytest.mark.parametrize("encrypted", [True, False])
    @pytest.mark.parametrize("where", [0.0, 0.5, 1.0])
    def test_a_flipped_byte_is_caught_and_the_object_named(
        self, tmp_path: Path, age: tuple[Encryption, Identity], encrypted: bool, where: float
    ) -> None:
        encryption = age[0] if encrypted else Encryption()
        artefact, _found = self.round_trip(tmp_path, os.urandom(400_000), Compression(), encryption, age[1])
        path = tmp_path / "a/c" / artefact.objects[0].key
        raw = bytearray(path.read_bytes())
        raw[min(len(raw) - 1, int(where * len(raw)))] ^= 1
        path.write_bytes(raw)
        with pytest.raises(Corrupted, match=r"SHA-256 of data/x\.bin"):
            ArtefactReader(repository(tmp_path), age[1]).read_bytes(artefact)

    def test_a_cut_and_a_missing_object_are_told_apart(self, tmp_path: Path) -> None:
        artefact, _found = self.round_trip(tmp_path, os.urandom(400_000), Compression(), Encryption(), Identity())
        path = tmp_path / "a/c" / artefact.objects[0].key
        path.write_bytes(path.read_bytes()[:-1])
        reader = ArtefactReader(repository(tmp_path), Identity())
        with pytest.raises(Corrupted, match="truncated"):
            reader.read_bytes(artefact)
        path.unlink()
        with pytest.raises(Corrupted, match="missing"):
            reader.read_bytes(artefact)

    def test_a_file_is_not_left_behind_when_its_source_is_damaged(self, tmp_path: Path) -> None:
        artefact, _found = self.round_trip(tmp_path, os.urandom(400_000), Compression(), Encryption(), Identity())
        path = tmp_path / "a/c" / artefact.objects[0].key
        raw = bytearray(path.read_bytes())
        raw[-1] ^= 1
        path.write_bytes(raw)
        with pytest.raises(Corrupted):
            ArtefactReader(repository(tmp_path), Identity()).to_file(artefact, str(tmp_path / "out"))
        assert not (tmp_path / "out").exists()


class TestSources:
    @pytest.mark.parametrize(
        ("script", "words"),
        [
            ("echo some data; echo it broke >&2; exit 3", "exited with status 3"),
            ("echo some data; kill -9 $$", "killed by signal SIGKILL"),
        ],
    )
    def test_a_tool_that_fails_late_fails_the_stream(self, tmp_path: Path, script: str, words: str) -> None:
        store = repository(tmp_path)
        fanout = FanOut([store])
        source = ProcessSource(lambda: Process(["/bin/sh", "-c", script]))
        with pytest.raises(ToolFailed, match=words):
            ArtefactWriter(fanout, Compression(), Encryption()).store(Stream("x", "dump", source), "data/")
        fanout.close(abort=True)
        assert stored_files(tmp_path / "a") == {}

    def test_a_tool_is_ended_when_the_stream_fails(self, tmp_path: Path) -> None:
        def full(called: str, key: str, nth: int) -> None:
            if called == "write_part":
                raise DiskFull("full")

        processes: list[Process] = []

        def start() -> Process:
            processes.append(Process(["/bin/cat", "/dev/zero"]))
            return processes[0]

        fanout = FanOut([repository(tmp_path, fault=full)], memory=3 * PART)
        with pytest.raises(DiskFull):
            ArtefactWriter(fanout, Compression("none"), Encryption()).store(
                Stream("x", "dump", ProcessSource(start)), "data/"
            )
        fanout.close(abort=True)
        assert processes[0].popen.poll() is not None

    def test_a_decoder_that_stops_reading_is_the_error(self, tmp_path: Path) -> None:
        store = repository(tmp_path)
        fanout = FanOut([store], memory=8 * PART)
        artefact = ArtefactWriter(fanout, Compression(), Encryption()).store(
            Stream("x", "dump", IteratorSource(os.urandom(PART) for _number in range(40))), "data/"
        )
        fanout.drain()
        fanout.close(abort=False)
        tool = Process(["/bin/sh", "-c", "head -c 10 >/dev/null; echo no thanks >&2; exit 4"], stdin=-1)
        with pytest.raises(ToolFailed, match="no thanks"):
            ArtefactReader(store, Identity()).to_process(artefact, tool)

    def test_what_a_failed_stream_was_read_from_is_closed_at_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And not by the garbage collector, in whichever thread: what is read waits for its own threads then."""
        ended = []

        def chunks() -> Iterator[bytes]:
            try:
                for _number in range(100):
                    yield bytes(PART)
            finally:
                ended.append(threading.current_thread())

        def full(_self: ObjectWriter, _data: bytes) -> None:
            raise DiskFull("There is no more room.")

        monkeypatch.setattr(ObjectWriter, "write", full)
        fanout = FanOut([repository(tmp_path)], memory=8 * PART)
        source = IteratorSource(chunks())
        with pytest.raises(DiskFull) as kept:  # with its traceback, and so with everything that was suspended
            ArtefactWriter(fanout, Compression("none"), Encryption()).write(
                source, "data/x", Compression("none"), Encryption()
            )
        assert kept.value and ended == [threading.current_thread()]
        source.abort()  # once more does nothing
        fanout.close(abort=True)

    def test_small_documents_need_no_multipart(self, tmp_path: Path) -> None:
        store = repository(tmp_path)
        fanout = FanOut([store])
        ArtefactWriter(fanout, Compression(), Encryption()).store(Stream("x", "facts", bytes_source(b"{}")), "data/")
        fanout.drain()
        fanout.close(abort=False)
        assert store.calls == {"put": 1}
