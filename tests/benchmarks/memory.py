# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Peak memory of the module's process: levels, numbers of repositories, lengths."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable

from .measure import Aim, Contest, Contestant, Sample, verb
from .stand import Stand

LEVELS = (1, 3, 6, 9, 12, 15, 19)
SLOW = 9
LIMIT = 200
MB = 1_000_000


def _recipient() -> str:
    import pyrage

    return str(pyrage.x25519.Identity.generate().to_public())


class _Memory:
    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self._bucket = ""
        self._work = Path()

    def prepare(self) -> None:
        self._bucket = self.stand.new_bucket()
        self._work = self.stand.new_directory("memory")

    def clean(self) -> None:
        if self._bucket:
            self.stand.seaweed.drop_bucket(self._bucket)
        shutil.rmtree(self._work, ignore_errors=True)
        self._bucket = ""

    def contestant(self, name: str, size: int, stores: Sequence[str], level: int, encrypted: bool) -> Contestant:
        # High levels take a second a megabyte; noise fills their tables and all buffers soonest.
        options = {"size": min(size, 60 * MB), "noise": True} if level > SLOW else {"size": size}

        def run() -> Sample:
            made: dict[str, Callable[[], dict[str, Any]]] = {
                "s3": lambda: self.stand.s3(self._bucket),
                "s3b": lambda: {**self.stand.s3(self._bucket, "second"), "prefix": "second"},
                "local": lambda: {"name": "local", "type": "local", "path": str(self._work / "local")},
                "s3-32": lambda: {**self.stand.s3(self._bucket), "part_size": "32MiB"},
                "null": lambda: {"name": "null", "type": "null"},
            }
            task = {
                "verb": "backup",
                "engine": "generated",
                "options": options,
                "repositories": [made[one]() for one in stores],
                "state": str(self._work),
                "level": level,
                "recipients": [_recipient()] if encrypted else [],
            }
            return verb(task, self.stand.servers)

        return Contestant(name, run, self.prepare, self.clean, rounds=1)


def _contest(stand: Stand) -> Contest:
    memory = _Memory(stand)
    short = round(400 * stand.scale) * MB
    contestants = [memory.contestant(f"level {level} → SeaweedFS", short, ["s3"], level, False) for level in LEVELS]
    contestants += [
        memory.contestant("level 1, encrypted → SeaweedFS, local", short, ["s3", "local"], 1, True),
        memory.contestant("level 1, encrypted → SeaweedFS twice, local", short, ["s3", "s3b", "local"], 1, True),
        memory.contestant("level 19, encrypted → SeaweedFS twice, local", short, ["s3", "s3b", "local"], 19, True),
    ]
    contestants.append(memory.contestant("level 15, parts of 32 MiB → SeaweedFS", short, ["s3-32"], 15, False))
    for size in (200, round(20_000 * stand.scale)):
        contestants.append(memory.contestant(f"level 1, {size} MB → a null sink", size * MB, ["null"], 1, False))
    return Contest(
        "memory",
        "Peak memory of the module's process",
        contestants,
        [Aim(f"peak ≤ {LIMIT} MB: {one.name}", one.name, LIMIT, of="peak") for one in contestants],
        notes=[
            f"Streams of {short // MB} MB, above level {SLOW} of 60 MB of noise; one run each.",
            "The null sink is a repository of the bench: it takes parts, counts them and keeps nothing.",
        ],
    )


def contests(stand: Stand) -> dict[str, Callable[[], Contest]]:
    """The groups by name."""
    return {"memory": lambda: _contest(stand)}
