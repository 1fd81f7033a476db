# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups, verifications, prunes, copies, damage and deaths in any order: what must hold always holds."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._interface import Place
from ansible_collections.holdfast.ops.plugins.module_utils._errors import HoldfastError, Locked
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import (
    LEASE,
    MANIFESTS,
    Backup,
    StoredPart,
    manifest_key,
    mark_key,
)
from ansible_collections.holdfast.ops.plugins.module_utils._operations._blobs import read_references
from ansible_collections.holdfast.ops.plugins.module_utils._operations._catalogue import read_holdings
from ansible_collections.holdfast.ops.plugins.module_utils._operations._copy import CopySettings, copy
from ansible_collections.holdfast.ops.plugins.module_utils._operations._prune import PruneResult, PruneSettings, prune
from ansible_collections.holdfast.ops.plugins.module_utils._operations._verify import VerifySettings, verify
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress
from ansible_collections.holdfast.ops.plugins.module_utils._retention import Policy
from ansible_collections.holdfast.ops.plugins.module_utils._stream._codec import Identity
from ansible_collections.holdfast.ops.plugins.module_utils._stream._read import ArtefactReader
from ansible_collections.holdfast.ops.tests.support.memory import (
    Killed,
    MemoryRepository,
    commit_backup,
    put,
    sha,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

GRACE, MAX_RUNTIME = timedelta(days=7), timedelta(days=6)
CONTENTS = [f"large file {number}".encode() * 20 for number in range(4)]


class LifeOfBackups(RuleBasedStateMachine):
    """Two repositories of one component over months, with a model of what is damaged and what was verified."""

    def __init__(self) -> None:
        super().__init__()
        self.state = tempfile.TemporaryDirectory()
        self.main, self.other = MemoryRepository("main"), MemoryRepository("other")
        self.damaged: set[str] = set()
        self.minimum = 2
        self.slow: tuple[Backup, datetime] | None = None
        self.confirmed = False

    def teardown(self) -> None:
        self.state.cleanup()

    # -- what happens ---------------------------------------------------------------------------------------------

    @rule(hours=st.sampled_from([1, 7, 24, 24 * 8, 24 * 31]))
    def time_passes(self, hours: int) -> None:
        for repository in (self.main, self.other):
            repository.now += timedelta(hours=hours)

    def _store(self, files: set[int]) -> Backup:
        """As a backup does up to its manifest: blobs that are there and not marked are used again."""
        self.main.now += timedelta(seconds=5)
        marked = {key.rpartition("/")[2] for key in self.main.objects if key.startswith("prune/")}
        blobs = []
        for number in sorted(files):
            name = sha(CONTENTS[number])
            there = [key for key in self.main.objects if key.startswith(f"blobs/{name[:2]}/{name}.")]
            usable = [key for key in there if key.rpartition("/")[2] not in marked]
            blobs.append((CONTENTS[number], usable[0].rpartition(f"{name}.")[2] if usable else ""))
        return commit_backup(self.main, self.main.now, blobs=blobs, commit=False)

    def _commit(self, backup: Backup) -> None:
        put(self.main, manifest_key(backup.id), backup.to_json())
        self.main.delete([f"running/{backup.id}"])

    @rule(files=st.sets(st.sampled_from(range(len(CONTENTS)))))
    def back_up(self, files: set[int]) -> None:
        self._commit(self._store(files))

    @rule(count=st.integers(2, 6))
    def days_of_backups(self, count: int) -> None:
        """What a schedule does: a backup a day, each verified."""
        for number in range(count):
            self.main.now += timedelta(days=1)
            self._commit(self._store({number % len(CONTENTS)}))
            self.check("latest", False)

    @rule(files=st.sets(st.sampled_from(range(len(CONTENTS))), min_size=1))
    def begin_a_slow_backup(self, files: set[int]) -> None:
        """One that is killed, or commits much later."""
        self.slow = self._store(files), self.main.now
        self.confirmed = False

    @precondition(lambda self: self.slow is not None)
    @rule()
    def look_again(self) -> None:
        """Its last look before the commit; without what it relies on it gives up."""
        assert self.slow is not None
        needed = [part.key for part in _needed(self.main, self.slow[0])]
        self.confirmed = all(key in self.main.objects and mark_key(key) not in self.main.objects for key in needed)
        if not self.confirmed:
            self.slow = None

    @precondition(lambda self: self.slow is not None and self.confirmed)
    @rule()
    def commit_it_if_there_is_time(self) -> None:
        assert self.slow is not None
        backup, begun = self.slow
        if self.main.now - begun < MAX_RUNTIME:
            self._commit(backup)
        self.slow = None

    @rule(which=st.sampled_from(["latest", "unverified", "all"]), in_other=st.booleans())
    def check(self, which: str, in_other: bool) -> None:
        repository = self.other if in_other else self.main
        repository.now += timedelta(seconds=5)
        if not any(key.startswith(MANIFESTS) for key in repository.objects):
            return
        place = Place("shop", self.state.name, self.state.name)
        result = verify([repository], VerifySettings("shop", place, which=which), pytest.fail, Progress())
        assert not result.errors
        for finding in result.findings:
            assert finding.ok == (f"{repository.name} {finding.backup_id}" not in self.damaged)

    def _prune(self, repository: MemoryRepository, last: int, check: bool = False) -> PruneResult:
        policy = Policy(last=last, minimum_verified=self.minimum)
        how = PruneSettings("shop", self.state.name, policy, blob_grace=GRACE, max_runtime=MAX_RUNTIME, check=check)
        return prune(repository, how, Progress())

    def _good(self, repository: MemoryRepository) -> list[str]:
        holdings = read_holdings(repository)
        states = {one: holdings.state(one) for one in holdings.backups}
        return [one for one, state in states.items() if state.reaches("checksum") and not state.failed]

    @rule(last=st.integers(1, 4), death=st.none() | st.integers(0, 40), in_other=st.booleans())
    def clean_up(self, last: int, death: int | None, in_other: bool) -> None:
        repository = self.other if in_other else self.main
        repository.now += timedelta(seconds=5)
        before, ids = self._good(repository), set(read_holdings(repository).ids)
        repository.writes_left = death
        with suppress(Killed, Locked):
            self._prune(repository, last)
        repository.writes_left = None
        after, left = self._good(repository), set(read_holdings(repository).ids)
        wanted = max(last, self.minimum)
        assert after[:wanted] == before[:wanted], "the newest verified backups are lost"
        if len(before) < self.minimum:
            assert left == ids, "too few verified backups, and still something was deleted"
        newest_good = before[0] if before else ""
        assert all(one in left for one in ids if one > newest_good), "newer than the last good one, and deleted"

    @rule(last=st.integers(1, 4))
    def look_first(self, last: int) -> None:
        """What check mode tells is what then happens."""
        if LEASE in self.main.objects:
            self.main.now += timedelta(hours=2)
        before = dict(self.main.objects)
        planned = self._prune(self.main, last, check=True)
        assert self.main.objects == before
        done = self._prune(self.main, last)
        assert (planned.deleted, planned.orphans, planned.blobs) == (done.deleted, done.orphans, done.blobs)
        assert not self._prune(self.main, last).deleted

    @rule(death=st.none() | st.integers(0, 30))
    def replicate(self, death: int | None) -> None:
        self.other.now += timedelta(seconds=5)
        self.other.writes_left = death
        try:
            result = copy(self.main, self.other, CopySettings("shop", self.state.name), Progress())
            assert all(f"main {one}" in self.damaged for one in result.failed)
        except (Killed, HoldfastError) as error:
            assert death is not None, error
        self.other.writes_left = None

    @precondition(lambda self: any(key.startswith(MANIFESTS) for key in self.main.objects))
    @rule(data=st.data())
    def damage(self, data: st.DataObject) -> None:
        """Flip a byte of a dump: of that one backup only."""
        ids = sorted(key[len(MANIFESTS) : -len(".json")] for key in self.main.objects if key.startswith(MANIFESTS))
        backup_id = data.draw(st.sampled_from(ids))
        (key,) = [key for key in self.main.objects if backup_id in key and key.endswith("/shop.dump")]
        content = self.main.objects[key]
        if f"main {backup_id}" not in self.damaged:
            self.main.objects[key] = content[:-1] + bytes([content[-1] ^ 255])
            self.damaged.add(f"main {backup_id}")

    # -- what always holds ----------------------------------------------------------------------------------------

    @invariant()
    def every_backup_has_all_its_objects(self) -> None:
        for repository in (self.main, self.other):
            for key in [each for each in repository.objects if each.startswith(MANIFESTS)]:
                backup = Backup.from_json(repository.objects[key])
                for part in _needed(repository, backup):
                    assert part.key in repository.objects, f"{backup.id} in {repository.name} lacks {part.key}"
                    if f"{repository.name} {backup.id}" not in self.damaged:
                        assert sha(repository.objects[part.key]) == part.sha256


def _needed(repository: MemoryRepository, backup: Backup) -> list[StoredPart]:
    """Every object that a backup consists of; a list of references that is gone is among them."""
    parts = list(backup.objects())
    if all(part.key in repository.objects for part in parts):
        for reference in read_references(ArtefactReader(repository, Identity()), backup):
            parts += reference.objects
    return parts


LifeOfBackups.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
TestLifeOfBackups = LifeOfBackups.TestCase
