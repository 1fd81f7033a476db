# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`holdfast status`: what is declared on this host, how its last jobs ended, and when the next ones come.

PRIVATE to the collection; may change without notice. It contacts no repository and takes no time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .._durations import counted, roughly
from .._errors import HoldfastError, NotFound, PermissionDenied
from .._manifest import parse_time, utc_now
from .._notify._jobs import COMPONENT, JOB_KINDS, PART, JobKind
from .._process import run as run_tool
from . import _paths

_READ_AT_MOST = 16 * 1024 * 1024
"""Bytes of the log that are looked at, from its end: months, and still an instant."""


@dataclass(frozen=True)
class Ended:
    """How a job ended last."""

    at: datetime
    ok: bool
    said: str


@dataclass(frozen=True)
class Row:
    """A job of this host: how it ended last, and when it comes next."""

    kind: JobKind
    subject: str
    last: Ended | None
    coming: datetime | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `holdfast status`."""
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.epilog = "exit codes: 0 when every job's last run ended well, 1 otherwise"


def run(arguments: argparse.Namespace) -> int:
    """Show it; the exit code says whether the last run of every job ended well."""
    host = _read_host()
    ended = last_ends(_log_lines())
    coming = _next_runs()
    subjects = _subjects(host)
    rows = [
        Row(kind, subject, ended.get((kind.verb, subject)), coming.get(kind.unit(subject)))
        for about, names in subjects.items()
        for subject in names
        for kind in JOB_KINDS.values()
        if kind.about == about and ((kind.verb, subject) in ended or kind.unit(subject) in coming)
    ]
    sys.stdout.write(_as_json(rows) if arguments.json else _as_text(host, subjects, rows))
    return 0 if all(row.last is None or row.last.ok for row in rows) else 1


def _subjects(host: Mapping[str, Any]) -> dict[str, list[str]]:
    """What jobs can be about here: the declared components, and the parts of maintenance that run by themselves."""
    maintenance = host.get("maintenance") or {}
    return {
        COMPONENT: [str(each["name"]) for each in host["components"]],
        PART: [str(part) for part in maintenance.get("parts", ())],
    }


def _read_host() -> dict[str, Any]:
    try:
        with open(_paths.HOST, encoding="utf-8") as stream:
            host: dict[str, Any] = json.load(stream)
            return host
    except PermissionError:
        raise PermissionDenied(f"{_paths.HOST} may be read by root only.", right="read", hint="Use sudo.") from None
    except FileNotFoundError:
        raise NotFound(
            f"There is no {_paths.HOST}: this host was not told what to look after.",
            hint="Run the playbook holdfast.ops.site for it.",
        ) from None


def _log_lines() -> Iterator[dict[str, Any]]:
    """The lines of the jobs' log and of the one that was rotated last, oldest first; damaged ones are passed over."""
    for path in (f"{_paths.JOBS_LOG}.1", _paths.JOBS_LOG):
        try:
            with open(path, "rb") as stream:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - _READ_AT_MOST))
                lines = stream.read().splitlines()
        except FileNotFoundError:
            continue
        for line in lines:
            try:
                found = json.loads(line)
            except ValueError:
                continue  # the first may be cut, and one that was being written when the power went
            if isinstance(found, dict):
                yield found


def last_ends(lines: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Ended]:
    """(job, what it is about) → how it ended last. A job that began and never ended was killed, or is running."""
    ends: dict[tuple[str, str], Ended | None] = {}
    before: dict[str, Ended | None] = {}
    for line in lines:
        key = str(line.get("job")), str(line.get(COMPONENT) or line.get(PART))
        run_id = str(line.get("run"))
        try:
            at = parse_time(str(line.get("time")))
        except ValueError:
            continue
        if line.get("event") == "start":
            before[run_id] = ends.get(key)
            alive = _is_alive(line.get("pid"))
            ends[key] = Ended(
                at, alive, "is running" if alive else "FAILED: it was killed before it could say anything"
            )
        elif line.get("event") == "end" and line.get("error_code") == "locked":
            ends[key] = before.get(run_id)  # it found another at work, and says nothing about that one
        elif line.get("event") == "end":
            ended_well = line.get("ok") is True
            ends[key] = Ended(at, ended_well, "ok" if ended_well else f"FAILED: {line.get('msg')}")
    return {key: ended for key, ended in ends.items() if ended is not None}


def _is_alive(pid: Any) -> bool:
    return isinstance(pid, int) and os.path.isdir(f"/proc/{pid}")


def _next_runs() -> dict[str, datetime]:
    """Unit without its ending → when its timer goes off next; empty where systemd does not run, as with cron."""
    if not os.path.isdir("/run/systemd/system"):
        return {}
    command = ["systemctl", "list-timers", "--all", "--output=json", "holdfast-*"]
    try:
        _code, out, _said = run_tool(command, stage="status")
        timers = json.loads(out or b"[]")
    except (HoldfastError, ValueError):
        return {}  # an older systemd writes no JSON; `systemctl list-timers` still shows it
    found = {}
    for timer in timers:
        if isinstance(timer, dict) and timer.get("next"):
            when = datetime.fromtimestamp(int(timer["next"]) / 1_000_000, timezone.utc)
            found[str(timer.get("unit", "")).rpartition(".")[0]] = when
    return found


def _as_text(host: Mapping[str, Any], subjects: Mapping[str, list[str]], rows: list[Row]) -> str:
    lines = [f"{host.get('inventory_hostname')}: {counted(len(subjects[COMPONENT]), 'component')}"]
    table = [("of", "job", "last", "next", "")]
    now = utc_now()
    for row in rows:
        last = row.last
        ended = f"{last.at:%Y-%m-%d %H:%M}Z ({roughly((now - last.at).total_seconds())} ago)" if last else "never"
        begins = f"{row.coming:%Y-%m-%d %H:%M}Z" if row.coming else "-"
        table.append((row.subject, row.kind.verb, ended, begins, last.said.splitlines()[0] if last else ""))
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    for cells in table if rows else []:
        texts = [text.ljust(width) for text, width in zip(cells, widths)]
        lines.append("  ".join([*texts, cells[4]]).rstrip())
    scheduled = {(row.kind.about, row.subject) for row in rows}
    unscheduled = [name for about, names in subjects.items() for name in names if (about, name) not in scheduled]
    if unscheduled:
        lines.append(f"No job ran yet, and no timer is set, for: {', '.join(unscheduled)}")
    return "\n".join([*lines, "Backups: holdfast list", ""])


def _as_json(rows: list[Row]) -> str:
    jobs = [
        {
            row.kind.about: row.subject,
            "job": row.kind.verb,
            "last": f"{row.last.at:%Y-%m-%dT%H:%M:%SZ}" if row.last else None,
            "ok": row.last.ok if row.last else None,
            "said": row.last.said if row.last else None,
            "next": f"{row.coming:%Y-%m-%dT%H:%M:%SZ}" if row.coming else None,
        }
        for row in rows
    ]
    return json.dumps({"jobs": jobs}, indent=2) + "\n"
