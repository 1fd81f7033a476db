# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the modules returned to what an operator reads, and to what belongs together.

PRIVATE to the collection; may change without notice. Knows no Ansible.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

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
    if result.get("failed"):
        code = f" [{result['error_code']}]" if result.get("error_code") else ""
        return [f"{name}: FAILED{code}: {said[0]}", *(f"  {line}" for line in said[1:])]
    lines = [f"{name}: {said[0]}", *(f"  {line}" for line in said[1:])]
    if result.get("stored_bytes") is not None and result.get("bytes") is not None:
        lines.append(f"  {_figures(result)}")
    if result.get("backups") is not None:
        lines += [f"  {_backup(backup)}" for backup in result["backups"]]
    elif result.get("changed") and not result.get("seconds"):
        lines += [f"  {line}" for line in result.get("plan") or ()]  # a plan that was only looked at
    return lines


def _figures(result: Mapping[str, Any]) -> str:
    ratio = f" ({result['ratio']}:1)" if result.get("ratio") else ""
    speed = f", {result['mb_per_s']} MB/s" if result.get("mb_per_s") else ""
    return f"{size(result['bytes'])} read, {size(result['stored_bytes'])} stored{ratio} in {result['seconds']} s{speed}"


def _backup(backup: Mapping[str, Any]) -> str:
    verified = backup.get("verified") or {}
    level = verified.get("level") if isinstance(verified, Mapping) else verified
    parts = [
        str(backup.get("backup_id")),
        size(backup.get("size") or backup.get("stored_bytes") or 0),
        f"verified: {level or 'never'}",
        f"in {', '.join(backup.get('repositories') or [])}",
    ]
    return "  ".join(parts)


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
