# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An update as one thing that succeeds or is undone: checkout, install, restart, health; and back, when one fails.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Callable

from ..._durations import counted
from ..._errors import HoldfastError, Interrupted, Refused
from ..._locks import host_lock, state_directory
from ..._manifest import rfc3339, utc_now
from ..._progress import Progress
from ._checkout import Checkout, Head, Notes, Target
from ._marker import Marker, Markers, end_leftovers
from ._service import Health, Service
from ._workplace import Step

ROLL_BACK, COMPLETE = "roll_back", "complete"
_ROLLING_BACK = "going back: "
_PATIENCE = 60.0
"""Seconds at least that what was there before gets to be well again: there is nothing behind it to go back to."""
NAMED_FILES = 10


@dataclass(frozen=True)
class Wish:
    """What an update shall bring, and how.

    Attributes:
        install: commands that make a checkout ready to run.
        rollback: whether one that fails is undone.
        unfinished: what becomes of an update that was killed: `roll_back` or `complete`.
        fetch_timeout: seconds.
        limit: how many commits are named.
    """

    branch: str | None = None
    version: str | None = None
    install: tuple[Step, ...] = ()
    rollback: bool = True
    unfinished: str = ROLL_BACK
    fetch_timeout: float = 600.0
    limit: int = 20


class RolledBack(HoldfastError):
    """An update failed, and what was there before runs again."""

    code = "rolled_back"


class RollbackFailed(HoldfastError):
    """An update failed, and so did going back; the message says what stands."""

    code = "rollback_failed"


class NotRolledBack(HoldfastError):
    """An update failed, and nobody wanted it to be undone."""

    code = "update_failed"


@dataclass
class Outcome:
    """What came of an update.

    Attributes:
        target: None when only an earlier one was repaired.
        repaired: a sentence on an earlier update that was killed.
        dirtied: tracked files that installing has changed.
        seconds: of each install command.
    """

    before: Head
    after: Head
    target: Target | None = None
    notes: Notes | None = None
    repaired: str | None = None
    health: Health = field(default_factory=Health)
    dirtied: Sequence[str] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return self.target is not None or self.repaired is not None


def refuse_changes(checkout: Checkout) -> None:
    """Refuse to lose what somebody has changed.

    Raises:
        Refused: naming files.
    """
    files = checkout.changed_files()
    if files:
        raise Refused(
            f"{checkout.place.directory} has local changes: {named(files)}.",
            stage="preflight",
            hint="Commit and push them, or give them up: git stash, or git checkout -- FILE.",
        )


def named(files: Sequence[str]) -> str:
    """The first of some files, and how many more there are."""
    more = len(files) - NAMED_FILES
    return ", ".join(files[:NAMED_FILES]) + (f" and {counted(more, 'more file')}" if more > 0 else "")


class Update:
    """One application's way from what it is to what it shall be.

    Args:
        state_dir: where the lock and the marker lie.
    """

    def __init__(
        self, checkout: Checkout, service: Service, wish: Wish, state_dir: str, progress: Progress | None = None
    ) -> None:
        self._checkout = checkout
        self._service = service
        self._wish = wish
        self._state_dir = state_dir
        self._markers = Markers(state_dir, checkout.place.directory)
        self._progress = progress or Progress()
        self._done: list[str] = []

    def run(self) -> Outcome:
        """Update, or find that there is nothing to update.

        Raises:
            Refused, NotFound, Unavailable: before anything was touched.
            RolledBack: it failed, and all is as before.
            RollbackFailed: going back failed too.
            NotRolledBack: it failed, and nobody wants it to be undone.
        """
        state_directory(self._state_dir)
        with host_lock(self._state_dir, f"application-{self._markers.key}", "application_update"):
            left = self._markers.read()
            earlier = self._repair(left) if left is not None else None
            if earlier is not None and earlier.target is not None:  # completed: that was the update
                return earlier
            return self._update(earlier)

    def _update(self, earlier: Outcome | None) -> Outcome:
        checkout, wish = self._checkout, self._wish
        self._progress.stage("preflight")
        refuse_changes(checkout)
        before = checkout.head()
        start = earlier.before if earlier else before
        nothing = Outcome(start, before, repaired=earlier.repaired if earlier else None)
        target = checkout.target(wish.branch, wish.version, wish.fetch_timeout)
        if target.commit == before.commit:
            return nothing
        self._service.missing()
        self._progress.stage("fetch")
        target = checkout.fetch(target, wish.fetch_timeout)
        commit = str(target.commit)
        if commit == before.commit:  # a shortened commit
            return nothing
        checkout.refuse_loss(target)
        notes = checkout.notes(before.commit, commit, wish.limit)
        other = target.branch if target.branch != before.branch else None
        marker = Marker(
            run=secrets.token_hex(8),
            directory=checkout.place.directory,
            started=rfc3339(utc_now()),
            before=before,
            target=target,
            branch_before=checkout.resolve(f"refs/heads/{other}") if other else None,
            well=self._service.look().well,
        )
        health = self._forward(marker)
        dirtied = checkout.changed_files()
        return Outcome(start, checkout.head(), target, notes, nothing.repaired, health, dirtied, self._seconds())

    def _repair(self, left: Marker) -> Outcome:
        """Deal with an update that was killed: back to what was before, or on to its end."""
        self._progress.stage("repair")
        ended = end_leftovers(left)
        self._checkout.unlock()
        stood = self._checkout.head()
        was = f"An update to {left.target} that began at {left.started} had not ended ({left.stage})"
        was += f"; {counted(ended, 'process', 'processes')} of it still ran and {_were(ended)} killed" if ended else ""
        if stood.commit not in (left.before.commit, left.target.commit):
            raise Refused(
                f"{was}. Since then somebody has moved {left.directory} to {stood}: what is wanted is not known.",
                stage="repair",
                hint=f"Make it as it should be, then remove {self._markers.path}.",
            )
        # They may be half of a checkout, or somebody's attempt to mend it.
        if self._checkout.set_aside(str(left.target.commit), "changed when holdfast came to repair an update"):
            was += "; files that were changed are kept (git stash list)"
        marker = replace(left, group=0)
        if self._wish.unfinished == COMPLETE and not left.stage.startswith(_ROLLING_BACK):
            health = self._forward(marker)
            said = f"{was}; it was completed."
            dirtied = self._checkout.changed_files()
            return Outcome(stood, self._checkout.head(), left.target, None, said, health, dirtied, self._seconds())
        self._back(marker, f"{was}.")
        return Outcome(stood, self._checkout.head(), repaired=f"{was}; it was rolled back to {left.before}.")

    def _forward(self, marker: Marker) -> Health:
        """To the target; back when that fails."""
        goal = Head(str(marker.target.commit), marker.target.branch)
        self._markers.write(marker)
        try:
            self._move(marker, goal, force=False)
            self._install(marker, goal)
            self._markers.at(marker, "health")
            health = self._service.await_health(self._progress)
        except _Untouched as untouched:
            self._markers.remove()
            raise untouched.error from None
        except HoldfastError as error:
            raise self._failed(marker, error) from error
        except Exception:  # a defect, or a disk of ours: told as it is
            if self._wish.rollback:
                self._back(marker, f"The update of {marker.directory} to {marker.target} failed.")
            raise
        self._markers.remove()
        return health

    def _move(self, marker: Marker, goal: Head, *, force: bool) -> None:
        """Check out; what git refuses to do has changed nothing, so that nothing needs to be undone."""
        self._done = []
        self._progress.stage("checkout")
        try:
            self._checkout.move(goal, stage="checkout", force=force)
        except HoldfastError as error:
            if not force and self._checkout.head() == marker.before and not self._checkout.changed_files():
                raise _Untouched(error) from error
            raise
        self._done.append(f"{goal} was checked out")

    def _install(self, marker: Marker, goal: Head, prefix: str = "") -> None:
        """Install what is checked out, and restart."""
        total = len(self._wish.install)
        for number, step in enumerate(self._wish.install, 1):
            stage = f"{prefix}install {number} of {total}: {step.shown}"
            self._progress.stage(stage)
            self._checkout.place.perform(step, stage, marker.run, self._noting(marker, stage))
            self._done.append(f"{step.shown} succeeded")
        self._markers.at(marker, f"{prefix}restart")
        self._service.restart(self._progress, marker.run, self._noting(marker, f"{prefix}restart"))
        self._done.append("all was restarted")

    def _noting(self, marker: Marker, stage: str) -> Callable[[int], None]:
        def note(group: int) -> None:
            self._markers.at(marker, stage, group)

        return note

    def _failed(self, marker: Marker, error: HoldfastError) -> HoldfastError:
        """Undo, and the error that tells of both.

        Raises:
            RollbackFailed: it could not be undone.
        """
        what = f"The update of {marker.directory} from {marker.before} to {marker.target} failed"
        what += f" ({error.stage}): {error.message}"
        fields: dict[str, Any] = {"stage": error.stage, "tool_output": error.tool_output, "hint": error.hint}
        if not self._wish.rollback:
            standing = self._standing()
            said = f"{what} It was not rolled back (rollback is false). {standing}"
            return NotRolledBack(said, **{**fields, "left_behind": standing})
        self._back(marker, what, error)
        how = "and all is well" if marker.well else "and it is no better than it was before"
        said = f"{what} It was rolled back: {marker.before} is installed and restarted, {how}."
        # Whoever stops us wants nothing more to begin.
        return Interrupted(said, **fields) if isinstance(error, Interrupted) else RolledBack(said, **fields)

    def _back(self, marker: Marker, what: str, first: HoldfastError | None = None) -> None:
        """To what was there before, whatever lies in the way.

        Raises:
            RollbackFailed: with what stands now.
        """
        self._markers.at(marker, f"{_ROLLING_BACK}checkout")
        other = marker.target.branch if marker.target.branch != marker.before.branch else None
        hint = "Mend what is said here and run it again: it begins with what is unfinished."
        try:
            self._move(marker, marker.before, force=True)
            if other:
                self._checkout.put_branch(other, marker.branch_before, stage="checkout")
            self._install(marker, marker.before, _ROLLING_BACK)
            # What is installed and restarted is what was there before: nothing is unfinished any more.
            self._markers.remove()
            hint = "What was there before is installed and restarted, and is not well: look at its logs."
            if marker.well:
                self._service.await_health(self._progress, _PATIENCE)
        except HoldfastError as error:
            standing = self._standing()
            words = [each.tool_output for each in (first, error) if each is not None and each.tool_output]
            raise RollbackFailed(
                f"{what} Going back to {marker.before} failed too ({error.stage}): {error.message} {standing}",
                stage=error.stage,
                tool_output="\n".join(words),
                hint=hint,
                left_behind=standing,
            ) from error

    def _seconds(self) -> dict[str, float]:
        return {name: round(value, 3) for name, value in self._progress.seconds.items() if name.startswith("install")}

    def _standing(self) -> str:
        """What stands now, as far as it can be seen."""
        try:
            files = self._checkout.changed_files()
            health = self._service.look()
            parts = [f"the checkout is at {self._checkout.head()}"]
        except HoldfastError as error:
            return f"What stands now could not be seen: {error.message}"
        parts += [f"changed files: {named(files)}"] if files else []
        parts += self._done or ["nothing was done after that"]
        if health.results:
            parts.append("all checks are well" if health.well else health.said.rstrip("."))
        return f"What stands now: {'; '.join(parts)}."


class _Untouched(Exception):
    """Git refused before it changed anything."""

    def __init__(self, error: HoldfastError) -> None:
        super().__init__(str(error))
        self.error = error


def _were(number: int) -> str:
    return "was" if number == 1 else "were"
