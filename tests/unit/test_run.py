# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From parameters to an operation and back: results, typed failures, signals and limits, with nothing left behind."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._arguments import backup_spec, defaults, restore_spec
from ansible_collections.holdfast.ops.plugins.module_utils._errors import Interrupted
from ansible_collections.holdfast.ops.plugins.module_utils._run import _signals, run_backup, run_restore
from ansible_collections.holdfast.ops.tests.support.faulty import StreamsEngine
from prometheus_client.parser import text_string_to_metric_families


class FakeModule:
    """AnsibleModule without the process."""

    def __init__(self, params: dict[str, Any], check_mode: bool = False) -> None:
        self.params, self.check_mode, self._diff = params, check_mode, True
        self.result: dict[str, Any] = {}
        self.warnings: list[str] = []

    def exit_json(self, **result: Any) -> None:
        self.result = {"failed": False, **result}

    def fail_json(self, msg: str, **result: Any) -> None:
        self.result = {"failed": True, "msg": msg, **result}

    def warn(self, warning: str) -> None:
        self.warnings.append(warning)


@pytest.fixture
def params(tmp_path: Path) -> dict[str, Any]:
    textfiles = tmp_path / "textfiles"
    textfiles.mkdir()
    return {
        **defaults(backup_spec(StreamsEngine).options),
        "component": "shop",
        "repositories": [{"name": "a", "type": "local", "path": str(tmp_path / "a")}],
        "state_dir": str(tmp_path / "state"),
        "textfile_dir": str(textfiles),
        "rpo": "24h",
        "streams": {"one.dump": lambda: iter([bytes(1000)])},
    }


def backup(params: dict[str, Any], **changes: Any) -> FakeModule:
    module = FakeModule({**params, **changes}, check_mode=changes.pop("check_mode", False))
    run_backup(module, StreamsEngine)
    return module


def metrics(params: dict[str, Any]) -> dict[str, float]:
    return {
        sample.name: sample.value
        for path in Path(params["textfile_dir"]).iterdir()
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


def manifests(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "a").rglob("manifests/*.json"))


def test_a_backup_returns_what_it_did(params: dict[str, Any], tmp_path: Path) -> None:
    result = backup(params).result
    assert (result["failed"], result["changed"]) == (False, True)
    assert result["repositories"] == ["a"]
    assert result["bytes"] > result["stored_bytes"] > 0
    assert [path.stem for path in manifests(tmp_path)] == [result["backup_id"]]
    assert result["diff"]["after"] == "one.dump\n"


def test_check_mode_leaves_the_disk_alone(params: dict[str, Any], tmp_path: Path) -> None:
    module = FakeModule(params, check_mode=True)
    run_backup(module, StreamsEngine)
    assert module.result["changed"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["textfiles"]
    assert list((tmp_path / "textfiles").iterdir()) == []


def test_metrics_tell_success_and_keep_it_through_a_failure(params: dict[str, Any]) -> None:
    backup(params)
    first = metrics(params)
    assert first["holdfast_backup_last_run_success"] == 1
    assert first["holdfast_backup_rpo_seconds"] == 86400
    assert first["holdfast_backup_in_progress"] == 0
    assert first["holdfast_backup_repository_size_bytes"] > first["holdfast_backup_repository_free_bytes"] > 0

    def broken() -> Iterator[bytes]:
        yield b"x"
        raise OSError("gone")

    result = backup(params, streams={"one.dump": broken}).result
    assert (result["failed"], result["error_code"]) == (True, "internal_error")
    assert "OSError: gone" in result["msg"]
    second = metrics(params)
    assert second["holdfast_backup_last_run_success"] == 0
    name = "holdfast_backup_last_success_timestamp_seconds"
    assert second[name] == first[name]


def test_nothing_to_do_is_no_success_of_its_own(params: dict[str, Any]) -> None:
    backup(params)
    first = metrics(params)
    assert not backup(params, max_age="1h").result["changed"]
    assert metrics(params) == first


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"component": "../x"}, "is not a name"),
        ({"component": "-x"}, "is not a name"),
        ({"repositories": []}, "at least one repository"),
        ({"max_age": "soon"}, "max_age must be"),
        ({"compression": {"method": "zstd", "level": 22}}, "between 1 and 19"),
        ({"encryption": {"method": "age"}}, "needs recipients"),
        ({"encryption": {"method": "age", "recipients": ["age1nonsense"]}}, "recipient 1 is not an age recipient"),
        ({"encryption": {"method": "age", "recipients": ["AGE-SECRET-KEY-1XYZ"]}}, "is a private identity"),
    ],
)
def test_bad_input_is_one_sentence_and_touches_nothing(
    params: dict[str, Any], tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    result = backup(params, **change).result
    assert result["failed"]
    assert result["error_code"] == "invalid_option"
    assert said in result["msg"]
    assert "XYZ" not in result["msg"]
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_undoes_the_run(params: dict[str, Any], tmp_path: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)

    def interrupted() -> Iterator[bytes]:
        yield os.urandom(100)
        os.kill(os.getpid(), number)
        for _number in range(200):
            time.sleep(0.05)
        yield b"never"

    result = backup(params, streams={"one.dump": interrupted}).result
    assert result["error_code"] == "interrupted"
    assert number.name in result["msg"]
    assert result["left_behind"] == "nothing"
    assert [path for path in (tmp_path / "a").rglob("*") if path.is_file()] == []
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(
    ("code", "said"), [(errno.ENOSPC, "disk_full"), (errno.EACCES, "permission_denied"), (errno.EIO, "internal_error")]
)
def test_what_the_disk_refuses_is_no_defect(params: dict[str, Any], code: int, said: str) -> None:
    def refused() -> Iterator[bytes]:
        yield b"x"
        raise OSError(code, os.strerror(code), "/state/file")

    result = backup(params, streams={"one.dump": refused}).result
    assert (result["failed"], result["error_code"]) == (True, said)
    assert "/state/file" in result["msg"]


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGALRM])
def test_what_is_undone_is_not_interrupted_again(first: signal.Signals) -> None:
    """The unwinding after a signal outlasts max_runtime, and the other way round."""
    undone = False
    with pytest.raises(Interrupted), _signals(0.2 if first == signal.SIGTERM else 60):
        try:
            os.kill(os.getpid(), first)
        finally:
            for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGHUP):
                os.kill(os.getpid(), number)
            time.sleep(0.3)
            undone = True
    assert undone


def test_max_runtime_ends_a_source_that_hangs(params: dict[str, Any], tmp_path: Path) -> None:
    def hangs() -> Iterator[bytes]:
        yield b"x"
        threading.Event().wait(60)

    started = time.monotonic()
    result = backup(params, streams={"one.dump": hangs}, max_runtime="1s").result
    assert result["error_code"] == "timeout"
    assert time.monotonic() - started < 30
    assert manifests(tmp_path) == []


def test_degraded_is_a_failure_that_tells_what_was_committed(params: dict[str, Any], tmp_path: Path) -> None:
    blocked = tmp_path / "b"
    blocked.write_text("a file where a directory should be")
    both = [*params["repositories"], {"name": "b", "type": "local", "path": str(blocked)}]
    result = backup(params, repositories=both).result
    assert (result["failed"], result["error_code"]) == (True, "degraded")
    assert result["repositories"] == ["a"]
    assert list(result["missing"]) == ["b"]
    assert len(manifests(tmp_path)) == 1
    assert metrics(params)["holdfast_backup_last_run_success"] == 0


def test_a_restore_with_a_safety_backup_keeps_what_it_replaces(params: dict[str, Any], tmp_path: Path) -> None:
    backup(params)
    target: dict[str, bytes] = {}
    options = {**defaults(restore_spec(StreamsEngine).options), **params, "target": target, "live": "shop"}
    module = FakeModule({**options, "confirm": "shop", "safety_backup": True})
    run_restore(module, StreamsEngine)
    assert not module.result["failed"], module.result
    assert target == {"one.dump.zst": bytes(1000)}
    assert module.result["proof"]["proved"]
    assert len(manifests(tmp_path)) == 2
    assert module.result["safety_backup"]["backup_id"] != module.result["backup_id"]
    restored = module.result["backup_id"]
    run_restore(module, StreamsEngine)  # again: not what the first run has replaced
    assert module.result["backup_id"] == restored


def test_a_restore_into_a_live_place_is_refused(params: dict[str, Any]) -> None:
    backup(params)
    target: dict[str, bytes] = {}
    options = {**defaults(restore_spec(StreamsEngine).options), **params, "target": target, "live": "shop"}
    module = FakeModule(options)
    run_restore(module, StreamsEngine)
    assert module.result["error_code"] == "refused"
    assert "Set confirm: 'shop'" in module.result["msg"]
    assert target == {}
