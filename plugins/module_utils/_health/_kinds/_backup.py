# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `backup`: the backups of a component are young enough, by what this host knows of its own jobs.

PRIVATE to the collection; may change without notice.

No repository is asked: that takes rights, time and a network. `holdfast list` does it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._durations import format_duration, parse_duration
from ..._errors import NotFound
from ..._host import _paths
from ..._manifest import BackupId, parse_time
from ..._metrics import read_samples
from ..._spec import Spec
from .._interface import FAIL, PASS, WARN, Kind, Measurement
from .._thresholds import judged

_MOST_READ = 8 << 20
"""Bytes of the end of a log that are looked at."""


class BackupCheck(Kind):
    """Reads the log of jobs, and the metrics where there are any."""

    name = "backup"
    SPEC = Spec(
        {
            "component": {"type": "name", "required": True},
            "warning": {"type": "positive_duration"},
            "critical": {"type": "positive_duration", "default": "26h"},
            "verified": {"type": "positive_duration"},
            "job_log": {"type": "path", "default": _paths.JOBS_LOG},
            "textfile_dir": {"type": "path"},
        }
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        if options.get("warning") and parse_duration(options["warning"]) >= parse_duration(options["critical"]):
            report.key("warning").add("is not shorter than critical, so it would never be seen")

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        component = self.options["component"]
        told = _Told(component, self.options["job_log"], self.options.get("textfile_dir"))
        last = told.last_good("backup")
        if last is None:
            raise NotFound(f"No successful backup of {component} is known on this host.")
        warning, critical = _seconds(self.options.get("warning")), _seconds(self.options["critical"])
        yield self._age("age", f"The newest backup of {component} is", last, warning, critical)
        if told.failed_last:
            yield Measurement("last_run", WARN, "failed", "", f"The last run of {component} failed: {told.failed_last}")
        else:
            yield Measurement("last_run", PASS, "ok")
        if self.options.get("verified"):
            last = told.last_good("verify")
            if last is None:
                yield Measurement("verified_age", FAIL, None, "s", f"No verification of {component} is known.")
            else:
                limit = _seconds(self.options["verified"])
                yield self._age("verified_age", f"The last verification of {component} is", last, None, limit)

    @staticmethod
    def _age(name: str, what: str, last: float, warning: float | None, critical: float | None) -> Measurement:
        found = judged(name, max(0.0, time.time() - last), "s", warning, critical, what=what)
        if found.status == PASS:
            return found
        limit = critical if found.status == FAIL else warning
        old, allowed = _words(float(found.value or 0)), _words(limit or 0)
        return Measurement(name, found.status, found.value, "s", f"{what} {old} old (allowed: {allowed}).")


class _Told:
    """What log and metrics tell of a component."""

    def __init__(self, component: str, log: str, textfile_dir: str | None) -> None:
        self._component = component
        self._textfile_dir = textfile_dir
        self._good: dict[str, float] = {}
        self.failed_last = ""
        """Why the last job of backups failed; empty when it did not."""
        for path in (f"{log}.1", log):  # one that was rotated away today holds the yesterday
            for line in _lines(path):
                self._take(line)

    def _take(self, line: Mapping[str, Any]) -> None:
        if line.get("component") != self._component:
            return
        event, moment = line.get("event"), parse_time(str(line["time"])).timestamp()
        if event == "result" and line.get("ok") and line.get("verb"):
            # Data is as old as the backup's beginning, which its id tells; a job that found one young enough made none.
            made = BackupId.parse(str(line.get("backup_id", ""))) if line["verb"] == "backup" else None
            self._good[str(line["verb"])] = made.time.timestamp() if made else moment
        elif event == "end" and line.get("job") == "backup":
            self.failed_last = "" if line.get("ok") else str(line.get("msg") or line.get("error_code") or "no reason")

    def last_good(self, verb: str) -> float | None:
        """When data was last backed up, or backups last verified, epoch seconds; None when that is not known."""
        known = [self._good[verb]] if verb in self._good else []
        name = {"backup": "holdfast_backup_last_snapshot_timestamp_seconds"}.get(
            verb, "holdfast_backup_verify_last_success_timestamp_seconds"
        )
        if self._textfile_dir:
            known += read_samples(self._textfile_dir, verb, self._component, name)
        return max(known, default=None)


def _lines(path: str) -> Iterator[dict[str, Any]]:
    """The objects of a log, the oldest first; lines that are none are passed over."""
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            stream.seek(max(0, size - _MOST_READ))
            text = stream.read()
    except FileNotFoundError:
        return
    for line in text.split(b"\n"):
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict) and "time" in found:
                yield found


def _seconds(text: str | None) -> float | None:
    return None if text is None else parse_duration(text).total_seconds()


def _words(seconds: float) -> str:
    from datetime import timedelta

    return format_duration(timedelta(seconds=int(seconds) if seconds < 3600 else int(seconds) // 60 * 60))
