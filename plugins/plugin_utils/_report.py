# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the modules returned to what an operator reads, and to what belongs together.

PRIVATE to the collection; may change without notice. Knows no Ansible.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils._durations import roughly
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption, NotFound
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import parse_time
from ansible_collections.holdfast.ops.plugins.plugin_utils._progress import size

STAMP_MARK = "@"
"""Between the name of a set and the time of its stamp: `omnidoc@20261122T020000Z`."""


def summary(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line or a few for each component, and a last line that names those that failed, if any."""
    lines: list[str] = []
    failed: list[str] = []
    count = 0
    for result in results:
        if result.get("skipped"):
            continue
        count += 1
        name = str(result.get("component") or result.get("item") or "?")
        lines += _of_component(name, result)
        if result.get("failed"):
            failed.append(name)
    if not count:
        return ["Nothing was done."]
    if failed:
        lines.append(f"{len(failed)} of {count} FAILED: {', '.join(failed)}.")
    return lines


def _of_component(name: str, result: Mapping[str, Any]) -> list[str]:
    said = str(result.get("msg") or "nothing was said.").strip().splitlines()
    failed = ""
    if result.get("failed"):
        failed = f"FAILED [{result['error_code']}]: " if result.get("error_code") else "FAILED: "
    lines = [f"{name}: {failed}{said[0]}", *(f"  {line}" for line in said[1:])]
    return [*lines, *(f"  {line}" for line in _details(result))]


def _details(result: Mapping[str, Any]) -> Iterator[str]:
    """What is worth telling beside the message, by what a module returned."""
    if result.get("stored_bytes") is not None and result.get("bytes") is not None:
        yield _figures(result)
    if result.get("changed") and not result.get("seconds"):
        yield from map(str, result.get("plan") or ())  # a plan that was only looked at
    yield from map(_finding, result.get("results") or ())
    yield from map(_backup, result.get("backups") or ())
    repositories = result.get("repositories")
    if isinstance(repositories, Mapping):
        for name, one in repositories.items():
            if one.get("error"):
                yield f"{name} cannot be read: {one['error']}"
            for step in one.get("plan") or ():
                reasons = f": {', '.join(step['reasons'])}" if step.get("reasons") else ""
                yield f"{name}  {step['action']:<6}  {step['backup_id']}{reasons}"


def _figures(result: Mapping[str, Any]) -> str:
    ratio = f" ({result['ratio']}:1)" if result.get("ratio") else ""
    speed = f", {result['mb_per_s']} MB/s" if result.get("mb_per_s") else ""
    return f"{size(result['bytes'])} read, {size(result['stored_bytes'])} stored{ratio} in {result['seconds']} s{speed}"


def _finding(one: Mapping[str, Any]) -> str:
    """A verification of one backup in one repository."""
    said = "sound" if one.get("ok") else "NOT SOUND"
    proof = one.get("proof")
    if proof:
        equal = "equal to its fingerprint" if proof.get("proved") else "not proved"
        said += f", restored in {one.get('restore_seconds')} s and {equal} ({proof.get('checked')} compared)"
    return f"{one.get('repository')}  {one.get('backup_id')}  {one.get('level')}  {said} ({one.get('seconds')} s)"


def _backup(one: Mapping[str, Any]) -> str:
    """A line of the catalogue."""
    verified, failure = one.get("verified") or {}, one.get("last_failure")
    words = [str(one.get("backup_id")), f"{roughly(one.get('age_seconds') or 0)} old"]
    if one.get("stored_bytes") is not None:
        words.append(size(one["stored_bytes"]))
    words.append(f"verified: {verified.get('level') or 'never'}")
    if failure:
        words.append(f"FAILED {failure['level']} at {failure['at']}")
    words.append(f"in {', '.join(one.get('repositories') or ())}")
    if one.get("missing_in"):
        words.append(f"missing in {', '.join(one['missing_in'])}")
    if one.get("set"):
        words.append(str(one["set"]))
    return "  ".join(words)


def of_one_stamp(results: Iterable[Mapping[str, Any]], set_name: str, at: str = "") -> dict[str, str]:
    """The backups of the newest stamp that every component of a set has.

    Args:
        results: what `backup_info` returned for each of the components.
        set_name: the name of the set.
        at: only stamps of this moment or earlier.

    Returns:
        component → backup id.

    Raises:
        InvalidOption: `at` is not a time.
        NotFound: there is no such stamp.
    """
    limit = _limit(at)
    found: dict[str, dict[str, str]] = {}
    for result in results:
        stamps = found.setdefault(str(result.get("component") or result.get("item")), {})
        for backup in result.get("backups") or ():
            name, mark, time = str(backup.get("set") or "").rpartition(STAMP_MARK)
            if mark and name == set_name and (limit is None or time <= limit):
                stamps[time] = str(backup["backup_id"])
    common = set.intersection(*(set(stamps) for stamps in found.values())) if found else set()
    if not common:
        lacking = [name for name, stamps in found.items() if not stamps]
        detail = f" Without any: {', '.join(lacking)}." if lacking else ""
        raise NotFound(
            f"There is no stamp that every component of the set {set_name} has.{detail}",
            stage="preflight",
            hint="holdfast.ops.catalogue lists what exists; restore the components one by one with holdfast_component.",
        )
    newest = max(common)
    return {name: stamps[newest] for name, stamps in found.items()}


def _limit(at: str) -> str | None:
    if not at:
        return None
    try:
        return parse_time(at).strftime("%Y%m%dT%H%M%SZ")
    except ValueError:
        raise InvalidOption("holdfast_at is not a time; write it like 2026-11-22T20:00:00Z.") from None
