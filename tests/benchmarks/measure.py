# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contests: contestants that run in turns, A B A B, and the ratios between them within each round.

A machine is never quiet, so a contestant is compared with what its rival took a moment before or after, and the
median of those ratios is what an aim is held against. CPU seconds stand beside the wall clock: they show work that
the other core did in the meantime.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Callable

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    """One run. `cpu`: user and system seconds of the contestant and all its children; `server_cpu`: of the servers
    that it used; `peak`: resident memory in MB of the measured process alone (0: not measured)."""

    wall: float
    cpu: float
    server_cpu: float = 0.0
    peak: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contestant:
    """`prepare` and `clean` are not timed; `clean` runs whatever happened."""

    name: str
    run: Callable[[], Sample]
    prepare: Callable[[], object] = lambda: None
    clean: Callable[[], object] = lambda: None
    rounds: int | None = None
    """Runs of this contestant, when fewer than the contest's will do (memory, a slow peer that is no aim)."""


@dataclass(frozen=True)
class Aim:
    """What is promised of a contestant.

    `of`: `wall`, `cpu` or `peak` of `ours`; held against `at_most` × the same of `peer`, or against `at_most` itself
    (seconds, MB) when there is no peer.
    """

    says: str
    ours: str
    at_most: float
    peer: str | None = None
    of: str = "wall"


@dataclass(frozen=True)
class Contest:
    """A group of contestants that are compared with one another."""

    key: str
    title: str
    contestants: Sequence[Contestant]
    aims: Sequence[Aim] = ()
    notes: Sequence[str] = ()
    volume: float | None = None
    """MB that every contestant moves, for a column MB/s."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def hold(contest: Contest, rounds: int) -> dict[str, Any]:
    """Run a contest; the result as plain data."""
    load = os.getloadavg()[0]
    samples: dict[str, list[Sample]] = {one.name: [] for one in contest.contestants}
    say(f"== {contest.title}")
    for number in range(rounds):
        for one in contest.contestants:
            if one.rounds is not None and number >= one.rounds:
                continue
            try:
                one.prepare()
                os.sync()  # nobody pays for what the one before has left in the page cache
                sample = one.run()
            finally:
                one.clean()
            samples[one.name].append(sample)
            say(
                f"   {number + 1}/{rounds} {one.name}: {sample.wall:.2f} s, CPU {sample.cpu:.2f} s"
                + (f", peak {sample.peak:.0f} MB" if sample.peak else "")
            )
    return {
        "key": contest.key,
        "title": contest.title,
        "notes": list(contest.notes),
        "volume": contest.volume,
        "load": load,
        "at": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "contestants": [
            {"name": name, "runs": [asdict(sample) for sample in runs]} for name, runs in samples.items() if runs
        ],
        "aims": [{**asdict(aim), **_judge(aim, samples)} for aim in contest.aims if samples.get(aim.ours)],
    }


def _judge(aim: Aim, samples: Mapping[str, Sequence[Sample]]) -> dict[str, Any]:
    mine = [float(getattr(sample, aim.of)) for sample in samples[aim.ours]]
    if aim.peer is None:
        # memory is promised at all times, time in the middle
        found = max(mine) if aim.of == "peak" else statistics.median(mine)
    else:
        theirs = [float(getattr(sample, aim.of)) for sample in samples[aim.peer]]
        found = statistics.median(a / b for a, b in zip(mine, theirs))  # the rounds that both ran
    return {"found": found, "met": found <= aim.at_most}


def shell(
    command: str, servers: Sequence[int] = (), env: Mapping[str, str] | None = None, cwd: str | Path | None = None
) -> Sample:
    """Run a command line in bash, every stage of its pipes checked.

    servers: process ids whose CPU seconds are counted apart.
    """
    before = cpu_of(servers)
    started = time.monotonic()
    process = subprocess.Popen(
        ["/bin/bash", "-euo", "pipefail", "-c", command],
        env={**os.environ, **(env or {})},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said = b""
    with contextlib.closing(process.stdout) as words:  # type: ignore[type-var]
        assert words is not None
        said = words.read()
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - started
    if process.returncode != 0:
        raise RuntimeError(f"exited {process.returncode}: {command}\n{said.decode(errors='replace')[-2000:]}")
    settle()
    return Sample(wall, usage.ru_utime + usage.ru_stime, cpu_of(servers) - before)


def settle() -> None:
    """PostgreSQL's processes count for their parent once they have ended, a moment after their client."""
    time.sleep(0.2)


def children_cpu() -> float:
    """User and system seconds of all children of this process that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def cpu_of(pids: Sequence[int]) -> float:
    """User and system seconds of processes and of those of their children that have ended."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(value) for value in fields[11:15])
    return total / TICKS


def verb(spec: Mapping[str, Any], servers: Sequence[int] = ()) -> Sample:
    """Run one of our verbs in a process of its own (see `worker.py`)."""
    before = cpu_of(servers)
    done = subprocess.run(
        [sys.executable, "-m", "ansible_collections.holdfast.ops.tests.benchmarks.worker"],
        input=json.dumps(spec),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the verb failed:\n{done.stderr[-3000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    settle()
    return Sample(found["wall"], found["cpu"], cpu_of(servers) - before, found["peak"], found["facts"])
