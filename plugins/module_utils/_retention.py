# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups to keep, and why. Pure functions: the catalogue and the store's clock in, a plan out.

PRIVATE to the collection; may change without notice.

The rules, each of which only ever keeps more:

1. A backup later than the store's clock is ignored and reported: whose clock is wrong cannot be told from here.
2. Only *verified* backups count. A failed verification outweighs a successful one.
3. `hourly`, `daily`, `weekly` (ISO), `monthly` and `yearly` keep the newest verified backup of each of the N newest
   hours, days, … of the UTC calendar that have one; `last` the N newest; `-1` means all of them. As in restic and
   borg, a day without a backup uses up no count, so a pause in the backups does not age out the old ones.
4. `within` keeps every verified backup this close to the *newest verified* one, not to the clock, so that backups
   that stop do not take the last good ones with them.
5. The newest `minimum_verified` verified backups are kept whatever the policy says; with fewer than that nothing
   at all is deleted.
6. An unverified backup is kept while no newer verified one exists. Afterwards it is kept where the policy would
   keep it were it verified (without displacing a verified one): who verifies weekly still keeps the days between.
7. A backup that failed its verification is kept until `minimum_verified` newer verified ones exist: it may be all
   that is left, and somebody may be looking into it.
8. What the store itself keeps (Object Lock, a legal hold) is never deleted.

Deleting by a plan and planning again deletes nothing; adding an older backup never costs a newer verified one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta, timezone
from typing import Any, Callable

from ._durations import Period, format_duration, parse_period
from ._errors import InvalidOption

KEEP = "keep"
DELETE = "delete"
IGNORE = "ignore"

DEFAULT_MINIMUM_VERIFIED = 3

_BUCKETS: tuple[tuple[str, Callable[[datetime], str]], ...] = (
    ("hourly", lambda time: time.strftime("%Y-%m-%d %H:00")),
    ("daily", lambda time: time.strftime("%Y-%m-%d")),
    ("weekly", lambda time: "{}-W{:02}".format(*time.isocalendar()[:2])),
    ("monthly", lambda time: time.strftime("%Y-%m")),
    ("yearly", lambda time: time.strftime("%Y")),
)
"""Rule and the name of the bucket that a UTC time falls into."""

COUNTS = ("last", *(rule for rule, _bucket in _BUCKETS))
"""The rules of a policy that are numbers."""


@dataclass(frozen=True)
class Candidate:
    """One backup as far as retention cares.

    Attributes:
        time: when it was made; aware.
        verified: a verification of at least the level that the policy demands succeeded.
        failed_verification: the newest verification failed.
        locked_until: the store keeps it until then; aware.
        held: the store keeps it until somebody lifts a legal hold.
    """

    id: str
    time: datetime
    verified: bool = False
    failed_verification: bool = False
    locked_until: datetime | None = None
    held: bool = False

    @property
    def counts(self) -> bool:
        """Whether retention may rely on it."""
        return self.verified and not self.failed_verification


@dataclass(frozen=True)
class Policy:
    """How many backups to keep. A count of -1 means all, 0 that the rule is not used.

    Raises:
        InvalidOption: no rule keeps anything, or a number makes no sense. The message names the key.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: Period = field(default_factory=Period)
    minimum_verified: int = DEFAULT_MINIMUM_VERIFIED

    def __post_init__(self) -> None:
        for rule in COUNTS:
            if getattr(self, rule) < -1:
                raise InvalidOption(f"retention.{rule} must be a number of backups, or -1 for all.")
        if self.minimum_verified < 1:
            raise InvalidOption("retention.minimum_verified must be at least 1.")
        if not self.within and not any(getattr(self, rule) for rule in COUNTS):
            raise InvalidOption(
                "The retention policy keeps nothing, which would delete every backup.",
                hint=f"Give at least one of {', '.join(COUNTS)} or within.",
            )

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Policy:
        """Make a policy from the options of a user; keys of others (`verified_level`) and None are passed over."""
        known = {each.name for each in fields(cls)}
        values = {key: value for key, value in options.items() if key in known and value is not None}
        if "within" in values:
            try:
                values["within"] = parse_period(values["within"])
            except InvalidOption as error:
                raise InvalidOption(f"retention.within {error.message}.") from None
        return cls(**values)

    def __str__(self) -> str:
        rules = [f"{rule} {_number(getattr(self, rule))}" for rule in COUNTS if getattr(self, rule)]
        return ", ".join([*rules, *([f"within {self.within}"] if self.within else [])])


@dataclass(frozen=True)
class Decision:
    """What becomes of one backup. `reasons` are for people; there is always at least one."""

    id: str
    time: datetime
    action: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.id}  {self.action}: {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class Plan:
    """A decision for every backup, newest first, what the operator should know, and how many verified there are."""

    decisions: tuple[Decision, ...]
    warnings: tuple[str, ...]
    verified: int

    def ids(self, action: str) -> tuple[str, ...]:
        """The backups that get this action, newest first."""
        return tuple(decision.id for decision in self.decisions if decision.action == action)

    def diff(self) -> dict[str, str]:
        """The plan as Ansible shows it: what is deleted is gone from `after`, every line gives the reason."""
        lines = [(decision.action, f"{decision}\n") for decision in self.decisions]
        return {
            "before": "".join(line for _action, line in lines),
            "after": "".join(line for action, line in lines if action != DELETE),
        }


def plan(candidates: Iterable[Candidate], policy: Policy, now: datetime) -> Plan:
    """Decide what to keep.

    Args:
        candidates: all committed backups of one component in one repository.
        now: the *store's* clock; aware.

    Raises:
        ValueError: an id stands twice, or a time has no zone: a defect of the caller.
    """
    newest_first = sorted(candidates, key=lambda each: (_utc(each.time), each.id), reverse=True)
    if len({each.id for each in newest_first}) != len(newest_first):
        raise ValueError("a backup is listed twice")
    now = _utc(now)
    past = [each for each in newest_first if _utc(each.time) <= now]
    verified = [each for each in past if each.counts]
    protected = _protected(past, verified, policy, now)
    rules = f"kept by no rule ({policy})"
    decisions, warnings = [], []
    for each in newest_first:
        if _utc(each.time) > now:
            action, reasons = IGNORE, [f"later than the store's clock ({_stamp(now)}): ignored and reported"]
            warnings.append(f"Backup {each.id} is later than the store's clock ({_stamp(now)}) and was ignored.")
        elif each.id in protected:
            action, reasons = KEEP, protected[each.id]
        else:
            action, reasons = DELETE, [*_state(each), rules]
        decisions.append(Decision(each.id, _utc(each.time), action, tuple(reasons)))
    if past and len(verified) < policy.minimum_verified:
        warnings.append(f"{_too_few(len(verified), policy).capitalize()}.")
    return Plan(tuple(decisions), tuple(warnings), len(verified))


def _protected(
    past: Sequence[Candidate], verified: Sequence[Candidate], policy: Policy, now: datetime
) -> dict[str, list[str]]:
    """The backups to keep, with reasons. Both sequences run from the newest to the oldest."""
    reasons: dict[str, list[str]] = {each.id: [] for each in past}
    for number, each in enumerate(verified[: policy.minimum_verified]):
        newest = "newest verified backup" if number == 0 else f"one of the {policy.minimum_verified} newest verified"
        reasons[each.id].append(newest)
    for each, why in _kept_by_rules(verified, verified, policy):
        reasons[each.id].append(why)
    trusted = [each for each in past if not each.failed_verification]
    for each, why in _kept_by_rules(trusted, verified, policy):
        if not each.counts:
            reasons[each.id].append(f"unverified, would be {why}")
    newer_verified = 0
    for each in past:
        if each.failed_verification and newer_verified < policy.minimum_verified:
            reasons[each.id].append(
                f"failed its verification, but only {newer_verified} newer verified backups exist "
                f"(minimum_verified is {policy.minimum_verified})"
            )
        elif not each.counts and not newer_verified:
            reasons[each.id].append("unverified: no newer verified backup exists")
        if len(verified) < policy.minimum_verified:
            reasons[each.id].append(_too_few(len(verified), policy))
        if each.held:
            reasons[each.id].append("held in the store (legal hold)")
        if each.locked_until is not None and _utc(each.locked_until) > now:
            reasons[each.id].append(f"locked by the store until {_stamp(each.locked_until)}")
        newer_verified += each.counts
    return {backup_id: why for backup_id, why in reasons.items() if why}


def _kept_by_rules(
    backups: Sequence[Candidate], verified: Sequence[Candidate], policy: Policy
) -> Iterable[tuple[Candidate, str]]:
    """Apply the policy's rules to `backups`, newest first; `within` is measured from the newest verified one."""
    for number, each in enumerate(backups[: None if policy.last < 0 else policy.last], 1):
        yield each, f"last {number} of {_number(policy.last)}"
    for rule, bucket_of in _BUCKETS:
        limit, seen = getattr(policy, rule), set[str]()
        for each in backups:
            bucket = bucket_of(_utc(each.time))
            if bucket in seen:
                continue
            if len(seen) == limit:
                break
            seen.add(bucket)
            yield each, f"{rule} {len(seen)} of {_number(limit)}: {bucket}"
    if policy.within and verified:
        begin = policy.within.before(_utc(verified[0].time))
        for each in backups:
            if _utc(each.time) >= begin:
                yield each, f"within {policy.within} of the newest verified backup"


def _state(each: Candidate) -> list[str]:
    """Why a backup that goes was not protected by its state; nothing to say about a verified one."""
    if each.failed_verification:
        return ["failed its verification and enough newer verified backups exist"]
    return [] if each.verified else ["unverified and a newer verified backup exists"]


def _too_few(verified: int, policy: Policy) -> str:
    backups = "backup" if verified == 1 else "backups"
    return f"only {verified} verified {backups}, minimum_verified is {policy.minimum_verified}: nothing is deleted"


def _number(count: int) -> str:
    return "all" if count < 0 else str(count)


def _utc(time: datetime) -> datetime:
    if time.tzinfo is None:
        raise ValueError("a time without a zone")
    return time.astimezone(timezone.utc)


def _stamp(time: datetime) -> str:
    return _utc(time).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class BlobPlan:
    """What prune does to blobs. All are sorted keys.

    Attributes:
        mark: write `prune/<blob>`: unreferenced, to be deleted in a later run.
        delete: delete the blob, then its mark; killed in between, the next run takes the mark away.
        unmark: take the mark away: the blob is referenced again, or gone.
        waiting: marked, and the grace period is not over.
        missing: referenced by a manifest and not there: that backup is damaged.
    """

    mark: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    unmark: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def blob_plan(
    *,
    referenced: Collection[str],
    blobs: Mapping[str, datetime],
    marks: Mapping[str, datetime],
    now: datetime,
    grace: timedelta,
    max_runtime: timedelta,
) -> BlobPlan:
    """Plan both steps of deleting blobs that no backup needs.

    A blob younger than `max_runtime` is left alone: a backup that still runs may have uploaded it and not have
    committed. A marked one is deleted when mark and blob are both at least `grace` old; a running backup may have
    decided to reuse a blob just before the mark, and it has committed or given up by then.

    Args:
        referenced: the blob keys of *every* manifest that stays, of every component that shares the blobs. The
            caller must not call this when a manifest could not be read.
        blobs: key → time of last modification by the store's clock.
        marks: blob key → time of the mark by the store's clock.
        now: the store's clock.

    Raises:
        InvalidOption: `grace` does not exceed `max_runtime`.
    """
    if grace <= max_runtime:
        raise InvalidOption(
            f"blob_grace must be longer than max_runtime ({format_duration(max_runtime)}).",
            hint="A running backup could otherwise lose a blob that it relies on.",
        )
    needed = set(referenced)
    unneeded = blobs.keys() - needed
    marked = unneeded & marks.keys()
    due = {key for key in marked if now - max(marks[key], blobs[key]) >= grace}
    return BlobPlan(
        mark=tuple(sorted(key for key in unneeded - marked if now - blobs[key] >= max_runtime)),
        delete=tuple(sorted(due)),
        unmark=tuple(sorted(marks.keys() - marked)),
        waiting=tuple(sorted(marked - due)),
        missing=tuple(sorted(needed - blobs.keys())),
    )


@dataclass(frozen=True)
class OrphanPlan:
    """What prune does to what killed runs left. All are sorted backup ids.

    Attributes:
        sweep: delete the data directory: no manifest, and nobody can be writing it any more.
        waiting: no manifest yet; may still be running.
        stale_markers: delete `running/<id>`: the run committed, or can no longer be alive.
    """

    sweep: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    stale_markers: tuple[str, ...] = ()


def orphan_plan(
    *,
    data: Mapping[str, datetime],
    manifests: Collection[str],
    running: Mapping[str, datetime],
    now: datetime,
    max_runtime: timedelta,
) -> OrphanPlan:
    """Plan the sweep of data directories without a manifest, and of the announcements of runs that are over.

    A run gives up beyond `max_runtime`, so what is older belongs to nobody: neither its announcement nor the last
    thing it wrote may be younger. A committed run may lack the right to take its own announcement away.

    Args:
        data: backup id → the newest modification in its data directory, by the store's clock.
        manifests: ids that have a manifest, readable or not.
        running: backup id → time of its announcement, by the store's clock.
        now: the store's clock.
    """
    committed = set(manifests)
    orphans = data.keys() - committed

    def over(backup_id: str) -> bool:
        seen = [times[backup_id] for times in (data, running) if backup_id in times]
        return all(now - time > max_runtime for time in seen)

    return OrphanPlan(
        sweep=tuple(sorted(key for key in orphans if over(key))),
        waiting=tuple(sorted(key for key in orphans if not over(key))),
        stale_markers=tuple(sorted(key for key in running if key in committed or over(key))),
    )
