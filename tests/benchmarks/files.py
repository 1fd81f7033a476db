# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File trees: large files that cannot be compressed, against rclone and restic; 100,000 small ones, against find."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

from ansible_collections.holdfast.ops.plugins.module_utils._engines._tree._cache import TreeCache
from ansible_collections.holdfast.ops.plugins.module_utils._engines._tree._patterns import Patterns
from ansible_collections.holdfast.ops.plugins.module_utils._engines._tree._scan import Root
from ansible_collections.holdfast.ops.plugins.module_utils._engines._tree._survey import TreeSettings, survey

from .measure import Aim, Contest, Contestant, Sample, shell, verb
from .stand import Stand

LARGE_FILES = 8
LARGE_SIZE = 512 * 1024 * 1024
"""Together 4 GB: model weights, as far as a store can tell."""

SMALL_FILES = 100_000
PER_DIRECTORY = 100
RESTIC = "restic -q --no-cache"
FIND = r"find . -printf '%P\t%y\t%m\t%U\t%G\t%s\t%T@\t%C@\t%i\n' > /dev/null"
"""What our scan looks at."""


def make_large(top: Path, scale: float) -> float:
    """Random bytes; their MB."""
    size = max(2**24, round(LARGE_SIZE * scale)) // 2**20 * 2**20
    for number in range(LARGE_FILES):
        with open(top / f"weights-{number:02d}.safetensors", "wb") as stream:
            for _chunk in range(size // 2**20):
                stream.write(os.urandom(2**20))
    return LARGE_FILES * size / 1e6


def make_small(top: Path, scale: float) -> int:
    """Small files of some hundred bytes, a hundred in a directory; their number."""
    dice = random.Random(42)
    count = max(PER_DIRECTORY, round(SMALL_FILES * scale))
    for number in range(count):
        directory = top / f"{number // PER_DIRECTORY // 50:03d}" / f"{number // PER_DIRECTORY % 50:02d}"
        if number % PER_DIRECTORY == 0:
            directory.mkdir(parents=True)
        (directory / f"document {number:06d}.txt").write_bytes(dice.randbytes(dice.randrange(100, 500)))
    time.sleep(3)  # what was touched less than 2 s ago is read again: that is not what is measured
    return count


class _Bench:
    """The contestants over one tree."""

    def __init__(self, stand: Stand, make: Callable[[Path, float], float]) -> None:
        self.stand = stand
        self.tree = stand.new_directory("tree")
        self.volume = make(self.tree, stand.scale)
        self._bucket = ""
        self._work = Path()

    def prepare(self) -> None:
        self._bucket = self.stand.new_bucket()
        self._work = self.stand.new_directory("run")

    def clean(self) -> None:
        if self._bucket:
            self.stand.seaweed.drop_bucket(self._bucket)
        shutil.rmtree(self._work, ignore_errors=True)
        self._bucket = ""

    def repository(self, kind: str) -> Mapping[str, Any]:
        if kind == "s3":
            return self.stand.s3(self._bucket)
        return {"name": "local", "type": "local", "path": str(self._work / "local")}

    def backup(self, kind: str) -> Sample:
        task = {
            "verb": "backup",
            "engine": "files",
            "options": {"path": str(self.tree)},
            "repositories": [self.repository(kind)],
            "state": str(self._work),
            "level": 1,
        }
        return verb(task, self.stand.servers)

    def again(self, kind: str) -> Callable[[], None]:
        """A backup that has been made, so that the next one finds nothing new."""

        def prepare() -> None:
            self.prepare()
            self.backup(kind)

        return prepare

    def unchanged(self, kind: str) -> Sample:
        sample = self.backup(kind)
        if sample.facts["sent"]:
            raise RuntimeError(f"{sample.facts['sent']} bytes of an unchanged tree were sent")
        return sample

    def shell(self, command: Callable[[], str]) -> Sample:
        return shell(command(), self.stand.servers, self.stand.s3_env, self.tree)

    def restic_url(self, kind: str) -> str:
        if kind == "s3":
            return f"s3:{self.stand.seaweed.endpoint}/{self._bucket}"
        return str(self._work / "restic")

    def restic_init(self, kind: str) -> Callable[[], None]:
        def prepare() -> None:
            self.prepare()
            self.shell(lambda: f"{RESTIC} -r {self.restic_url(kind)} init")

        return prepare

    def restic(self, kind: str) -> Callable[[], Sample]:
        return lambda: self.shell(lambda: f"{RESTIC} -r {self.restic_url(kind)} backup .")

    def scan(self) -> Sample:
        """The scan alone, of a tree that is remembered, in this process."""
        settings = TreeSettings(
            str(self.tree),
            Patterns(()),
            one_file_system=False,
            ignore_unreadable=False,
            rehash=False,
            cache=str(self._work / "state" / "tree.cache"),
        )
        root = Root(settings.path)
        try:
            cpu, started = time.process_time(), time.monotonic()
            found = survey(root, settings, TreeCache.open(settings.cache))
            sample = Sample(time.monotonic() - started, time.process_time() - cpu)
        finally:
            root.close()
        if not found.unchanged:
            raise RuntimeError("the tree is not as it was remembered")
        return sample


def _large(stand: Stand) -> Contest:
    bench = _Bench(stand, make_large)

    def one(name: str, run: Callable[[], Sample], prepare: Callable[[], object] = bench.prepare) -> Contestant:
        return Contestant(name, run, prepare, bench.clean)

    ours, ours_local, again = "holdfast → SeaweedFS", "holdfast → local", "holdfast → SeaweedFS, unchanged"
    rclone, restic, restic_local = "rclone copy → SeaweedFS", "restic → SeaweedFS", "restic → local"
    return Contest(
        "large_files",
        f"{bench.volume / 1000:.1f} GB of incompressible large files",
        [
            one(ours, lambda: bench.backup("s3")),
            one(rclone, lambda: bench.shell(lambda: f"rclone copy -q . store:{bench._bucket}/copy")),
            one(restic, bench.restic("s3"), bench.restic_init("s3")),
            one(ours_local, lambda: bench.backup("local")),
            one(restic_local, bench.restic("local"), bench.restic_init("local")),
            one(again, lambda: bench.unchanged("s3"), bench.again("s3")),
        ],
        [
            Aim("≥ 0.9 × the speed of rclone copy", ours, 1 / 0.9, rclone),
            Aim("≥ 1.5 × the speed of restic into SeaweedFS", ours, 1 / 1.5, restic),
            Aim("≥ 2.5 × the speed of restic into a local directory", ours_local, 1 / 2.5, restic_local),
            Aim("peak memory ≤ 200 MB", ours, 200, of="peak"),
        ],
        notes=["The second, unchanged run fails when it sends a single byte of content."],
        volume=bench.volume,
    )


def _small(stand: Stand) -> Contest:
    bench = _Bench(stand, make_small)
    find, scan = "find -printf", "the scan"
    verb_local, verb_s3 = "holdfast → local, unchanged", "holdfast → SeaweedFS, unchanged"
    return Contest(
        "small_files",
        f"{bench.volume:,.0f} unchanged small files",
        [
            Contestant(find, lambda: bench.shell(lambda: FIND)),
            Contestant(scan, bench.scan, bench.again("local"), bench.clean),
            Contestant(verb_local, lambda: bench.unchanged("local"), bench.again("local"), bench.clean),
            Contestant(verb_s3, lambda: bench.unchanged("s3"), bench.again("s3"), bench.clean),
            Contestant("holdfast → local, the first time", lambda: bench.backup("local"), bench.prepare, bench.clean),
        ],
        [
            Aim("scan ≤ 3 × find -printf", scan, 3.0, find),
            Aim("the verb ≤ 6 × find -printf", verb_local, 6.0, find),
            Aim("the verb into SeaweedFS ≤ 6 × find -printf", verb_s3, 6.0, find),
            Aim("peak memory ≤ 200 MB", "holdfast → local, the first time", 200, of="peak"),
        ],
        notes=[f"find prints what our scan looks at: `{FIND}`, with a warm cache of the file system."],
    )


def contests(stand: Stand) -> dict[str, Callable[[], Contest]]:
    """The groups by name; their trees come to be when one is asked for."""
    return {"large_files": lambda: _large(stand), "small_files": lambda: _small(stand)}
