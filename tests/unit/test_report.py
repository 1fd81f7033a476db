# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a playbook, and which backups of a set belong together."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption, NotFound
from ansible_collections.holdfast.ops.plugins.plugin_utils._report import of_one_stamp, summary

BACKUP = {
    "item": "omnidoc_db",
    "component": "omnidoc_db",
    "changed": True,
    "msg": "20261122T020003.120Z-1f2e3d4c5b6a is committed in primary, offsite.",
    "backup_id": "20261122T020003.120Z-1f2e3d4c5b6a",
    "bytes": 3_400_000_000,
    "stored_bytes": 1_200_000_000,
    "ratio": 2.83,
    "seconds": 12.3,
    "mb_per_s": 276.4,
    "plan": ["database omnidoc"],
}


def test_a_backup_in_two_lines() -> None:
    assert summary([BACKUP]) == [
        "omnidoc_db: 20261122T020003.120Z-1f2e3d4c5b6a is committed in primary, offsite.",
        "  3.4 GB read, 1.2 GB stored (2.83:1) in 12.3 s, 276.4 MB/s",
    ]


def test_those_that_failed_are_named_at_the_end() -> None:
    failed = {"item": "files", "failed": True, "error_code": "disk_full", "msg": "There is no room.\nFree some."}
    unreachable = {"item": "other", "failed": True, "msg": ""}
    assert summary([failed, BACKUP, unreachable]) == [
        "files: FAILED [disk_full]: There is no room.",
        "  Free some.",
        *summary([BACKUP]),
        "other: FAILED: nothing was said.",
        "2 of 3 FAILED: files, other.",
    ]


def test_a_plan_is_shown_when_nothing_was_made() -> None:
    checked = {"item": "db", "changed": True, "msg": "A backup would be made.", "plan": ["database a", "database b"]}
    assert summary([checked]) == ["db: A backup would be made.", "  database a", "  database b"]
    assert summary([{**checked, "changed": False, "msg": "Nothing to do."}]) == ["db: Nothing to do."]


@pytest.mark.parametrize("results", [[], [{"item": "db", "skipped": True}]])
def test_nothing_is_said_to_be_nothing(results: list[dict[str, Any]]) -> None:
    assert summary(results) == ["Nothing was done."]


def of(component: str, **stamps: str) -> dict[str, Any]:
    backups = [{"backup_id": f"{component}-{name}", "set": stamp} for name, stamp in stamps.items()]
    return {"item": component, "component": component, "backups": backups}


def test_the_newest_stamp_that_all_have() -> None:
    results = [
        of("db", a="app@20261120T020000Z", b="app@20261121T020000Z", c="app@20261122T020000Z", d="", e="manual"),
        of("files", a="app@20261120T020000Z", b="app@20261121T020000Z", x="app2@20261122T020000Z"),
    ]
    assert of_one_stamp(results, "app") == {"db": "db-b", "files": "files-b"}
    assert of_one_stamp(results, "app", "2026-11-20T12:00:00+01:00") == {"db": "db-a", "files": "files-a"}
    assert of_one_stamp(results, "app", "2026-11-20T02:00:00Z") == {"db": "db-a", "files": "files-a"}


def test_no_common_stamp_is_refused_and_says_who_lacks_one() -> None:
    with pytest.raises(NotFound, match=r"every component of the set app has\. Without any: files\."):
        of_one_stamp([of("db", a="app@20261120T020000Z"), of("files")], "app")
    with pytest.raises(NotFound, match="every component"):
        of_one_stamp([of("db", a="app@20261120T020000Z"), of("files", a="app@20261121T020000Z")], "app")
    with pytest.raises(NotFound):
        of_one_stamp([], "app")


def test_a_time_that_is_none() -> None:
    with pytest.raises(InvalidOption, match="holdfast_at"):
        of_one_stamp([of("db")], "app", "yesterday")


def test_the_catalogue_in_lines() -> None:
    backups = [
        {
            "backup_id": "ID1",
            "age_seconds": 30 * 3600,
            "stored_bytes": 1_200_000_000,
            "verified": {"level": "restore", "at": "2026-11-22T02:00:00.000Z"},
            "last_failure": None,
            "repositories": ["primary", "offsite"],
            "missing_in": [],
            "set": "app@20261121T020000Z",
        },
        {
            "backup_id": "ID2",
            "age_seconds": 3 * 86400,
            "verified": None,
            "last_failure": {"level": "checksum", "at": "2026-11-22T02:00:00.000Z"},
            "repositories": ["primary"],
            "missing_in": ["offsite"],
        },
    ]
    repositories = {"primary": {"reachable": True, "error": None}, "offsite": {"error": "It does not answer."}}
    said = summary([{"item": "db", "msg": "db has 2 backups.", "backups": backups, "repositories": repositories}])
    assert said == [
        "db: db has 2 backups.",
        "  ID1  30 h old  1.2 GB  verified: restore  in primary, offsite  app@20261121T020000Z",
        "  ID2  3 d old  verified: never  FAILED checksum at 2026-11-22T02:00:00.000Z  in primary  missing in offsite",
        "  offsite cannot be read: It does not answer.",
    ]


def test_a_plan_of_prune_gives_reasons() -> None:
    plan = [
        {"backup_id": "ID1", "action": "delete", "reasons": ["no rule keeps it"]},
        {"backup_id": "ID2", "action": "keep", "reasons": ["last 1", "daily 2026-11-22"]},
    ]
    assert summary([{"item": "db", "changed": True, "msg": "1 …", "repositories": {"primary": {"plan": plan}}}]) == [
        "db: 1 …",
        "  primary  delete  ID1: no rule keeps it",
        "  primary  keep    ID2: last 1, daily 2026-11-22",
    ]


def test_verifications_tell_what_was_proved() -> None:
    sound = {"repository": "primary", "backup_id": "ID1", "level": "restore", "ok": True, "seconds": 4.2}
    proof = {"proof": {"proved": True, "checked": 33}, "restore_seconds": 3.9}
    broken = {"repository": "offsite", "backup_id": "ID1", "level": "checksum", "ok": False, "seconds": 0.1}
    assert summary([{"item": "db", "failed": True, "msg": "1 of 2.", "results": [{**sound, **proof}, broken]}]) == [
        "db: FAILED: 1 of 2.",
        "  primary  ID1  restore  sound, restored in 3.9 s and equal to its fingerprint (33 compared) (4.2 s)",
        "  offsite  ID1  checksum  NOT SOUND (0.1 s)",
        "1 of 1 FAILED: db.",
    ]
