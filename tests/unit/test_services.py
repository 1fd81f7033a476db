# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services around a restore: what was stopped is started again, whatever comes in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import HoldfastError, Interrupted, ToolFailed
from ansible_collections.holdfast.ops.plugins.module_utils._operations import _services
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress

SYSTEMCTL = """#!/bin/sh
case "$1" in
show) printf 'LoadState=loaded\\nActiveState=%s\\n' "$(cat "{state}/$4")" ;;
stop) echo inactive > "{state}/$3" ;;
start) test ! -e "{state}/broken-$3" || exit 1; echo active > "{state}/$3" ;;
esac
"""


@pytest.fixture
def active(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Three units, two of which run; tells which of them run now."""
    (tmp_path / "systemctl").write_text(SYSTEMCTL.format(state=tmp_path))
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setattr(_services, "find_program", lambda *names, **options: str(tmp_path / "systemctl"))
    for unit, state in {"web": "active", "worker": "active", "idle": "inactive"}.items():
        (tmp_path / unit).write_text(state)
    return lambda: [unit for unit in ("web", "worker", "idle") if (tmp_path / unit).read_text().strip() == "active"]


def test_those_that_ran_are_stopped_and_run_again(active: Callable[[], list[str]]) -> None:
    with _services.stopped_services(["web", "worker", "idle"], Progress()):
        assert active() == []
    assert active() == ["web", "worker"]


def test_after_a_failure_too_and_what_it_left_is_told_as_well(active: Callable[[], list[str]], tmp_path: Path) -> None:
    (tmp_path / "broken-web").touch()
    with (
        pytest.raises(HoldfastError, match="no room") as caught,
        _services.stopped_services(["web", "worker"], Progress()),
    ):
        raise HoldfastError("There is no room.", left_behind="some files")
    assert active() == ["worker"]
    assert caught.value.left_behind is not None
    assert caught.value.left_behind.startswith("some files; These services did not start again: web")


def test_one_that_does_not_start_fails_a_restore_that_succeeded(
    active: Callable[[], list[str]], tmp_path: Path
) -> None:
    (tmp_path / "broken-web").touch()
    with pytest.raises(ToolFailed, match="web"), _services.stopped_services(["web", "worker"], Progress()):
        pass
    assert active() == ["worker"]


def test_a_signal_while_they_start_leaves_none_behind(
    active: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, signals = _services.run, [Interrupted("Stopped by SIGTERM.")]

    def run(argv: list[str], **options: Any) -> Any:
        if argv[1] == "start" and signals:
            raise signals.pop()
        return real(argv, **options)

    monkeypatch.setattr(_services, "run", run)
    with pytest.raises(Interrupted), _services.stopped_services(["web", "worker"], Progress()):
        pass
    assert active() == ["web", "worker"]
