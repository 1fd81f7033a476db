# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restoring: which backup is taken, from where, and what guards what is live."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    Interrupted,
    NotFound,
    Refused,
    Unavailable,
)
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import parse_time
from ansible_collections.holdfast.ops.tests.support.bench import DATA, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


class TestRestore:
    def test_the_latest_is_the_newest_of_all_repositories(self, bench: Bench) -> None:
        bench.backup(bench.repository("a"), bench.repository("b"))
        bench.streams["two.dump"] = lambda: iter([b"newer"])
        newer = bench.backup(bench.repository("b")).backup  # as after a degraded run
        assert newer is not None
        target: dict[str, bytes] = {}
        result = bench.restore(bench.repository("a"), bench.repository("b"), target=target)
        assert (result.backup.id, result.repository) == (newer.id, "b")
        assert target["two.dump.zst"] == b"newer"
        assert bench.restore(bench.repository("b"), bench.repository("a"), target=target).warnings == []

    def test_a_repository_that_is_passed_over_is_named(self, bench: Bench) -> None:
        bench.backup(bench.repository("b"))

        def down(method: str, key: str, nth: int) -> None:
            raise Unavailable("a does not answer.")

        result = bench.restore(bench.repository("a", down), bench.repository("b"), target={})
        assert result.repository == "b"
        assert any("a was passed over: a does not answer." in warning for warning in result.warnings)

    def test_a_signal_does_not_send_it_to_the_next_repository(self, bench: Bench) -> None:
        bench.backup(bench.repository("a"), bench.repository("b"))

        def stop(method: str, key: str, nth: int) -> None:
            raise Interrupted("Stopped by SIGINT.")

        target: dict[str, bytes] = {}
        with pytest.raises(Interrupted):
            bench.restore(bench.repository("a", stop), bench.repository("b"), target=target)
        assert target == {}

    def test_it_is_refused_without_naming_what_is_replaced(self, bench: Bench) -> None:
        bench.backup()
        target: dict[str, bytes] = {}
        for confirm in (None, "other"):
            with pytest.raises(Refused, match="'shop' is live"):
                bench.restore(target=target, live="shop", confirm=confirm)
        assert target == {}
        assert bench.restore(target=target, live="shop", confirm="shop").changed
        assert target

    def test_check_mode_restores_nothing(self, bench: Bench) -> None:
        bench.backup()
        target: dict[str, bytes] = {}
        assert bench.restore(target=target, live="shop", check=True).changed
        assert target == {}

    def test_by_id_latest_and_time(self, bench: Bench) -> None:
        ids = []
        for number in range(3):
            bench.streams["two.dump"] = lambda number=number: iter([b"%d" % number])
            result = bench.backup()
            assert result.backup is not None
            ids.append(result.backup.id)
        target: dict[str, bytes] = {}
        assert bench.restore(target=target).backup.id == ids[2]
        assert target["two.dump.zst"] == b"2"
        assert bench.restore(target=target, backup_id=ids[0]).backup.id == ids[0]
        assert target["two.dump.zst"] == b"0"
        moment = parse_time(bench.backups()[1].started_at)
        assert bench.restore(target=target, at=moment).backup.id == ids[1]
        with pytest.raises(NotFound, match="no committed backup"):
            bench.restore(target=target, at=moment - timedelta(days=1))
        with pytest.raises(NotFound, match="There is no backup 20000101"):
            bench.restore(target=target, backup_id="20000101T000000.000Z-000000000000")

    def test_the_next_repository_serves_when_the_first_cannot(self, bench: Bench) -> None:
        bench.backup(bench.repository("a"), bench.repository("b"))
        for path in (bench.path / "a/c/manifests").iterdir():
            path.unlink()
        target: dict[str, bytes] = {}
        assert bench.restore(bench.repository("a"), bench.repository("b"), target=target).repository == "b"
        assert target["one.dump.zst"] == DATA
