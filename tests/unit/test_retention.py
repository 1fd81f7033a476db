# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retention: what is kept, what goes, and the reasons; then what must hold for any catalogue and any policy."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._durations import Period, parse_period
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption
from ansible_collections.holdfast.ops.plugins.module_utils._retention import (
    COUNTS,
    DELETE,
    IGNORE,
    KEEP,
    BlobPlan,
    Candidate,
    OrphanPlan,
    Plan,
    Policy,
    blob_plan,
    orphan_plan,
    plan,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def made(text: str, **state: Any) -> Candidate:
    """A verified backup unless told otherwise, whose id is its time."""
    return Candidate(id=text, time=at(text), **{"verified": True, **state})


def actions(result: Plan) -> dict[str, str]:
    return {decision.id: decision.action for decision in result.decisions}


def reasons(result: Plan, backup_id: str) -> tuple[str, ...]:
    return next(decision.reasons for decision in result.decisions if decision.id == backup_id)


DAYS = [f"2026-11-{day:02}T02:00" for day in range(22, 0, -1)]


@pytest.mark.parametrize(
    ("policy", "times", "kept"),
    [
        ({"last": 2}, DAYS[:5], DAYS[:2]),
        ({"last": -1}, DAYS, DAYS),
        (
            {"hourly": 2},
            ["2026-11-22T10:59", "2026-11-22T10:00", "2026-11-22T09:59", "2026-11-22T08:00"],
            ["2026-11-22T10:59", "2026-11-22T09:59"],
        ),
        ({"daily": 3}, ["2026-11-22T11:00", *DAYS], ["2026-11-22T11:00", *DAYS[1:3]]),
        # 2026-11-16 is a Monday; an ISO week begins there.
        ({"weekly": 2}, DAYS, ["2026-11-22T02:00", "2026-11-15T02:00"]),
        # 2027-01-01 belongs to week 53 of 2026, as 2026-12-31 does.
        (
            {"weekly": 5},
            ["2027-01-04T00:00", "2027-01-01T00:00", "2026-12-31T00:00"],
            ["2027-01-04T00:00", "2027-01-01T00:00"],
        ),
        (
            {"monthly": 2},
            ["2026-11-22T02:00", "2026-11-01T00:00", "2026-10-31T23:59", "2026-09-30T02:00"],
            ["2026-11-22T02:00", "2026-10-31T23:59"],
        ),
        (
            {"yearly": 2},
            ["2026-11-22T02:00", "2026-01-01T00:00", "2024-12-31T23:59", "2023-06-01T00:00"],
            ["2026-11-22T02:00", "2024-12-31T23:59"],
        ),
        ({"within": "2d"}, DAYS, DAYS[:3]),
        (
            {"within": "1m"},
            ["2026-03-31T02:00", "2026-02-28T02:00", "2026-02-28T01:59"],
            ["2026-03-31T02:00", "2026-02-28T02:00"],
        ),
        # Days without a backup use up no count.
        (
            {"daily": 2},
            ["2026-11-22T02:00", "2025-01-01T02:00", "2024-01-01T02:00"],
            ["2026-11-22T02:00", "2025-01-01T02:00"],
        ),
        # Rules add up.
        ({"daily": 2, "monthly": 2}, [*DAYS, "2026-10-30T02:00"], [*DAYS[:2], "2026-10-30T02:00"]),
    ],
)
def test_rules(policy: dict[str, Any], times: list[str], kept: list[str]) -> None:
    result = plan(
        [made(time) for time in times], Policy.from_options({**policy, "minimum_verified": 1}), at("2028-01-01")
    )
    assert list(result.ids(KEEP)) == kept
    assert set(result.ids(DELETE)) == set(times) - set(kept)
    assert not result.warnings


def test_every_decision_gives_its_reasons() -> None:
    policy = Policy(last=1, daily=2, within=parse_period("1d"), minimum_verified=1)
    result = plan([made(day) for day in DAYS[:4]], policy, NOW)
    assert reasons(result, DAYS[0]) == (
        "newest verified backup",
        "last 1 of 1",
        "daily 1 of 2: 2026-11-22",
        "within 1d of the newest verified backup",
    )
    assert reasons(result, DAYS[1]) == ("daily 2 of 2: 2026-11-21", "within 1d of the newest verified backup")
    assert reasons(result, DAYS[2]) == ("kept by no rule (last 1, daily 2, within 1d)",)


def test_the_diff_shows_what_goes_and_why() -> None:
    result = plan([made(day) for day in DAYS[:3]], Policy(last=2, minimum_verified=1), NOW)
    before, after = result.diff()["before"].splitlines(), result.diff()["after"].splitlines()
    assert [line for line in before if line not in after] == [
        "2026-11-20T02:00  delete: kept by no rule (last 2)",
    ]
    assert [line for line in after if line not in before] == []


def test_fewer_than_minimum_verified_deletes_nothing_and_warns() -> None:
    candidates = [made(DAYS[0]), made(DAYS[1]), *(made(day, verified=False) for day in DAYS[2:9])]
    result = plan(candidates, Policy(last=1), NOW)
    assert result.ids(KEEP) == tuple(DAYS[:9])
    assert result.verified == 2
    assert result.warnings == ("Only 2 verified backups, minimum_verified is 3: nothing is deleted.",)
    assert "only 2 verified backups, minimum_verified is 3: nothing is deleted" in reasons(result, DAYS[5])


def test_the_policy_cannot_go_below_minimum_verified() -> None:
    result = plan([made(day) for day in DAYS[:6]], Policy(last=1), NOW)
    assert result.ids(KEEP) == tuple(DAYS[:3])
    assert reasons(result, DAYS[2]) == ("one of the 3 newest verified",)


def test_an_empty_catalogue_is_no_reason_to_warn() -> None:
    assert plan([], Policy(last=1), NOW) == Plan((), (), 0)


def test_unverified_backups_do_not_count_and_stay_while_nothing_newer_is_verified() -> None:
    newest = [made(day, verified=False) for day in DAYS[:3]]
    result = plan([*newest, *(made(day) for day in DAYS[3:8])], Policy(last=3), NOW)
    assert result.ids(KEEP) == tuple(DAYS[:6])
    assert reasons(result, DAYS[0]) == (
        "unverified, would be last 1 of 3",
        "unverified: no newer verified backup exists",
    )
    assert reasons(result, DAYS[3]) == ("newest verified backup", "last 1 of 3")


def test_unverified_backups_between_verified_ones_stay_where_the_policy_would_keep_them() -> None:
    """Who verifies once a week still has the days in between, and they cost no verified backup its place."""
    weekly_verified = [made(day, verified=index % 7 == 0) for index, day in enumerate(DAYS)]
    result = plan(weekly_verified, Policy(daily=10, minimum_verified=1), NOW)
    assert result.ids(KEEP) == (*DAYS[:10], DAYS[14], DAYS[21])
    assert reasons(result, DAYS[9]) == ("unverified, would be daily 10 of 10: 2026-11-13",)
    assert reasons(result, DAYS[10]) == (
        "unverified and a newer verified backup exists",
        "kept by no rule (daily 10)",
    )


def test_a_failed_backup_counts_for_nothing_even_if_it_was_verified_once() -> None:
    candidates = [made(DAYS[0], failed_verification=True), *(made(day) for day in DAYS[1:5])]
    result = plan(candidates, Policy(last=2, minimum_verified=2), NOW)
    assert result.ids(KEEP) == tuple(DAYS[:3])
    assert result.verified == 4
    assert reasons(result, DAYS[0]) == (
        "failed its verification, but only 0 newer verified backups exist (minimum_verified is 2)",
    )


@pytest.mark.parametrize(("position", "action"), [(1, KEEP), (2, KEEP), (3, DELETE)])
def test_a_failed_backup_goes_when_enough_newer_ones_are_verified(position: int, action: str) -> None:
    candidates = [made(day, failed_verification=index == position) for index, day in enumerate(DAYS[:6])]
    result = plan(candidates, Policy(daily=30), NOW)
    assert actions(result)[DAYS[position]] == action
    if action == DELETE:
        assert reasons(result, DAYS[position]) == (
            "failed its verification and enough newer verified backups exist",
            "kept by no rule (daily 30)",
        )


def test_backups_later_than_the_clock_are_ignored_and_reported() -> None:
    future = made("2026-11-22T12:01")
    result = plan([future, *(made(day) for day in DAYS[:3])], Policy(last=1, minimum_verified=1), NOW)
    assert actions(result) == {future.id: IGNORE, DAYS[0]: KEEP, DAYS[1]: DELETE, DAYS[2]: DELETE}
    assert reasons(result, future.id) == ("later than the store's clock (2026-11-22T12:00:00Z): ignored and reported",)
    assert result.warnings == (
        "Backup 2026-11-22T12:01 is later than the store's clock (2026-11-22T12:00:00Z) and was ignored.",
    )


def test_a_backup_of_this_very_moment_is_not_later() -> None:
    result = plan([made("2026-11-22T12:00")], Policy(last=1), NOW)
    assert result.ids(KEEP) == ("2026-11-22T12:00",)


def test_within_is_measured_from_the_newest_verified_backup() -> None:
    unverified = [made(DAYS[0], verified=False), made(DAYS[7], verified=False), made(DAYS[8], verified=False)]
    result = plan([*unverified, made(DAYS[5])], Policy.from_options({"within": "2d", "minimum_verified": 1}), NOW)
    assert result.ids(KEEP) == (DAYS[0], DAYS[5], DAYS[7])
    assert reasons(result, DAYS[7]) == ("unverified, would be within 2d of the newest verified backup",)


def test_a_clock_gone_back_by_years_deletes_nothing() -> None:
    result = plan([made(day) for day in DAYS], Policy(last=1), at("2020-01-01"))
    assert set(actions(result).values()) == {IGNORE}


@pytest.mark.parametrize(
    ("state", "action", "why"),
    [
        ({"held": True}, KEEP, "held in the store (legal hold)"),
        ({"locked_until": at("2026-11-22T12:01")}, KEEP, "locked by the store until 2026-11-22T12:01:00Z"),
        ({"locked_until": NOW}, DELETE, "kept by no rule (last 1)"),
    ],
)
def test_held_and_locked_backups_stay(state: dict[str, Any], action: str, why: str) -> None:
    candidates = [made(DAYS[0]), made(DAYS[1], **state)]
    result = plan(candidates, Policy(last=1, minimum_verified=1), NOW)
    assert actions(result)[DAYS[1]] == action
    assert why in reasons(result, DAYS[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "keeps nothing"),
        ({"daily": 0, "within": None}, "keeps nothing"),
        ({"minimum_verified": 3}, "keeps nothing"),
        ({"within": "0d"}, "keeps nothing"),
        ({"daily": -2}, "retention.daily must be a number of backups, or -1 for all"),
        ({"daily": 3, "minimum_verified": 0}, "retention.minimum_verified must be at least 1"),
        ({"within": "soon"}, "retention.within must be whole numbers with a unit"),
    ],
)
def test_senseless_policies_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        Policy.from_options(options)


def test_a_policy_passes_over_what_is_not_its_own() -> None:
    policy = Policy.from_options({"daily": 7, "verified_level": "archive", "hourly": None})
    assert policy == Policy(daily=7)
    assert str(Policy(last=-1, within=Period(days=7))) == "last all, within 7d"


def test_defects_of_the_caller_are_not_planned_around() -> None:
    with pytest.raises(ValueError, match="twice"):
        plan([made(DAYS[0]), made(DAYS[0])], Policy(last=1), NOW)
    with pytest.raises(ValueError, match="zone"):
        plan([Candidate(id="x", time=datetime(2026, 1, 1))], Policy(last=1), NOW)


# What must hold for any catalogue and any policy.

_BEGIN = at("2026-01-01")
policies = (
    st.builds(
        dict,
        **{rule: st.integers(-1, 4) for rule in COUNTS},
        within=st.builds(Period, days=st.integers(0, 40), hours=st.integers(0, 30), months=st.integers(0, 2)),
        minimum_verified=st.integers(1, 5),
    )
    .filter(lambda each: each["within"] or any(each[rule] for rule in COUNTS))
    .map(lambda each: Policy(**each))
)


@st.composite
def catalogues(draw: st.DrawFn, max_size: int = 25) -> list[Candidate]:
    hours = draw(st.lists(st.integers(0, 24 * 400), max_size=max_size))
    return [
        Candidate(
            id=f"{index:03}",
            time=_BEGIN + timedelta(hours=hour, minutes=draw(st.sampled_from([0, 30]))),
            verified=draw(st.booleans()),
            failed_verification=draw(st.sampled_from([False, False, False, True])),
            held=draw(st.sampled_from([False] * 9 + [True])),
            locked_until=draw(st.sampled_from([None] * 9 + [at("2030-01-01")])),
        )
        for index, hour in enumerate(hours)
    ]


clocks = st.integers(0, 24 * 420).map(lambda hours: _BEGIN + timedelta(hours=hours))


@given(catalogues(), policies, clocks)
def test_every_backup_gets_exactly_one_decision_with_a_reason(
    catalogue: list[Candidate], policy: Policy, now: datetime
) -> None:
    result = plan(catalogue, policy, now)
    assert sorted(decision.id for decision in result.decisions) == sorted(each.id for each in catalogue)
    assert sorted([*result.ids(KEEP), *result.ids(DELETE), *result.ids(IGNORE)]) == sorted(
        each.id for each in catalogue
    )
    assert all(decision.reasons for decision in result.decisions)
    assert result.ids(IGNORE) == tuple(each.id for each in _sorted(catalogue) if each.time > now)


@given(catalogues(), policies, clocks)
def test_planning_again_after_deleting_deletes_nothing(
    catalogue: list[Candidate], policy: Policy, now: datetime
) -> None:
    first = plan(catalogue, policy, now)
    left = [each for each in catalogue if each.id not in first.ids(DELETE)]
    assert plan(left, policy, now).ids(DELETE) == ()


@given(catalogues(), policies, clocks)
def test_verified_backups_never_fall_below_the_minimum(
    catalogue: list[Candidate], policy: Policy, now: datetime
) -> None:
    result = plan(catalogue, policy, now)
    usable = [
        each for each in _sorted(catalogue) if each.verified and not each.failed_verification and each.time <= now
    ]
    kept = set(result.ids(KEEP))
    assert {each.id for each in usable[: policy.minimum_verified]} <= kept
    if len(usable) < policy.minimum_verified:
        assert not result.ids(DELETE)
        assert any("minimum_verified" in warning for warning in result.warnings) or not (kept or usable)


@given(catalogues(), policies, clocks)
def test_nothing_goes_that_is_held_locked_or_without_a_newer_verified_backup(
    catalogue: list[Candidate], policy: Policy, now: datetime
) -> None:
    deleted = set(plan(catalogue, policy, now).ids(DELETE))
    newer = 0
    for each in _sorted([each for each in catalogue if each.time <= now]):
        if each.id in deleted:
            assert newer >= (policy.minimum_verified if each.failed_verification else 1)
            assert not each.held
            assert each.locked_until is None
        newer += each.verified and not each.failed_verification


@given(catalogues(), policies, clocks, st.integers(1, 24 * 500), st.booleans(), st.booleans())
def test_an_older_backup_never_costs_a_newer_verified_one(
    catalogue: list[Candidate], policy: Policy, now: datetime, hours: int, verified: bool, failed: bool
) -> None:
    oldest = min((each.time for each in catalogue), default=_BEGIN)
    older = Candidate("older", oldest - timedelta(hours=hours), verified=verified, failed_verification=failed)
    before = set(plan(catalogue, policy, now).ids(KEEP)) & {each.id for each in catalogue if each.counts}
    assert before <= set(plan([*catalogue, older], policy, now).ids(KEEP))


@given(catalogues(), policies, clocks)
def test_unverified_backups_never_cost_a_verified_one(
    catalogue: list[Candidate], policy: Policy, now: datetime
) -> None:
    verified = [each for each in catalogue if each.counts]
    alone = set(plan(verified, policy, now).ids(KEEP))
    together = set(plan(catalogue, policy, now).ids(KEEP))
    assert alone == together & {each.id for each in verified}


@given(catalogues(), policies, clocks)
def test_verifying_an_unverified_backup_never_deletes_it(
    catalogue: list[Candidate], policy: Policy, now: datetime
) -> None:
    """Where the policy keeps it unverified because it would keep it verified, a verification must not change that."""
    for decision in plan(catalogue, policy, now).decisions:
        if not any(reason.startswith("unverified, would be") for reason in decision.reasons):
            continue
        better = [dataclasses.replace(each, verified=True) if each.id == decision.id else each for each in catalogue]
        assert decision.id in plan(better, policy, now).ids(KEEP)


@given(catalogues(), policies, clocks, st.randoms(), st.sampled_from([-12, -5, 2, 14]))
def test_neither_order_nor_time_zone_matters(
    catalogue: list[Candidate], policy: Policy, now: datetime, random: Any, offset: int
) -> None:
    zone = timezone(timedelta(hours=offset, minutes=30))
    moved = [dataclasses.replace(each, time=each.time.astimezone(zone)) for each in catalogue]
    random.shuffle(moved)
    assert plan(moved, policy, now.astimezone(zone)) == plan(catalogue, policy, now)


def test_the_repeated_hour_of_daylight_saving_time_is_two_hours() -> None:
    summer, winter = timezone(timedelta(hours=2)), timezone(timedelta(hours=1))
    first = Candidate("first", datetime(2026, 10, 25, 2, 30, tzinfo=summer), verified=True)
    second = Candidate("second", datetime(2026, 10, 25, 2, 30, tzinfo=winter), verified=True)
    result = plan([first, second], Policy(hourly=2, minimum_verified=1), NOW)
    assert result.ids(KEEP) == ("second", "first")


def _sorted(catalogue: list[Candidate]) -> list[Candidate]:
    return sorted(catalogue, key=lambda each: (each.time, each.id), reverse=True)


# Blobs and orphans.

GRACE, MAX_RUNTIME = timedelta(days=7), timedelta(days=1)


def ago(**age: float) -> datetime:
    return NOW - timedelta(**age)


@pytest.mark.parametrize(
    ("referenced", "blobs", "marks", "expected"),
    [
        ({"a"}, {"a": ago(days=9)}, {}, BlobPlan()),
        (set(), {"a": ago(days=9)}, {}, BlobPlan(mark=("a",))),
        (set(), {"a": ago(hours=23)}, {}, BlobPlan()),
        (set(), {"a": ago(hours=24)}, {}, BlobPlan(mark=("a",))),
        (set(), {"a": ago(days=-1)}, {}, BlobPlan()),
        (set(), {"a": ago(days=9)}, {"a": ago(days=6, hours=23)}, BlobPlan(waiting=("a",))),
        (set(), {"a": ago(days=9)}, {"a": ago(days=7)}, BlobPlan(delete=("a",))),
        (set(), {"a": ago(days=9)}, {"a": ago(days=-3)}, BlobPlan(waiting=("a",))),
        (set(), {"a": ago(days=1)}, {"a": ago(days=8)}, BlobPlan(waiting=("a",))),
        ({"a"}, {"a": ago(days=9)}, {"a": ago(days=8)}, BlobPlan(unmark=("a",))),
        (set(), {}, {"a": ago(days=8)}, BlobPlan(unmark=("a",))),
        ({"a"}, {}, {}, BlobPlan(missing=("a",))),
        ({"a"}, {}, {"a": ago(days=8)}, BlobPlan(unmark=("a",), missing=("a",))),
    ],
)
def test_blobs(
    referenced: set[str], blobs: dict[str, datetime], marks: dict[str, datetime], expected: BlobPlan
) -> None:
    result = blob_plan(referenced=referenced, blobs=blobs, marks=marks, now=NOW, grace=GRACE, max_runtime=MAX_RUNTIME)
    assert result == expected


def test_grace_must_exceed_the_longest_run() -> None:
    with pytest.raises(InvalidOption, match=r"blob_grace must be longer than max_runtime \(1d\)"):
        blob_plan(referenced=(), blobs={}, marks={}, now=NOW, grace=MAX_RUNTIME, max_runtime=MAX_RUNTIME)


_keys = st.sampled_from("abcdef")
_times = st.integers(-48, 24 * 20).map(lambda hours: NOW - timedelta(hours=hours))


@given(st.sets(_keys), st.dictionaries(_keys, _times), st.dictionaries(_keys, _times))
def test_a_blob_goes_only_unreferenced_and_a_grace_after_its_mark(
    referenced: set[str], blobs: dict[str, datetime], marks: dict[str, datetime]
) -> None:
    result = blob_plan(referenced=referenced, blobs=blobs, marks=marks, now=NOW, grace=GRACE, max_runtime=MAX_RUNTIME)
    for key in result.delete:
        assert key not in referenced
        assert NOW - marks[key] >= GRACE
        assert NOW - blobs[key] >= GRACE
    assert set(result.mark) <= blobs.keys() - referenced - marks.keys()
    assert not set(result.unmark) & (set(result.delete) | set(result.waiting) | set(result.mark))
    after = blob_plan(
        referenced=referenced,
        blobs={key: time for key, time in blobs.items() if key not in result.delete},
        marks={
            **{key: time for key, time in marks.items() if key not in {*result.delete, *result.unmark}},
            **dict.fromkeys(result.mark, NOW),
        },
        now=NOW,
        grace=GRACE,
        max_runtime=MAX_RUNTIME,
    )
    assert after == BlobPlan(waiting=tuple(sorted({*result.waiting, *result.mark})), missing=result.missing)


@pytest.mark.parametrize(
    ("data", "manifests", "running", "expected"),
    [
        ({"a": ago(days=9)}, {"a"}, {}, OrphanPlan()),
        ({"a": ago(days=9)}, set(), {}, OrphanPlan(sweep=("a",))),
        ({"a": ago(hours=1)}, set(), {}, OrphanPlan(waiting=("a",))),
        ({"a": ago(hours=1)}, set(), {"a": ago(hours=2)}, OrphanPlan(waiting=("a",))),
        # The clock of the writer or a restarted upload: any young trace protects.
        ({"a": ago(hours=1)}, set(), {"a": ago(days=3)}, OrphanPlan(waiting=("a",))),
        ({"a": ago(days=9)}, set(), {"a": ago(hours=1)}, OrphanPlan(waiting=("a",))),
        ({"a": ago(days=9)}, set(), {"a": ago(days=9)}, OrphanPlan(sweep=("a",), stale_markers=("a",))),
        ({"a": ago(days=-1)}, set(), {}, OrphanPlan(waiting=("a",))),
        ({"a": ago(hours=1)}, {"a"}, {"a": ago(hours=1)}, OrphanPlan(stale_markers=("a",))),
        ({}, set(), {"a": ago(hours=1)}, OrphanPlan()),
        ({}, set(), {"a": ago(days=2)}, OrphanPlan(stale_markers=("a",))),
    ],
)
def test_orphans(
    data: dict[str, datetime], manifests: set[str], running: dict[str, datetime], expected: OrphanPlan
) -> None:
    assert orphan_plan(data=data, manifests=manifests, running=running, now=NOW, max_runtime=MAX_RUNTIME) == expected
