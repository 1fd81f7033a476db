# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a task returned to the line that is kept of it.

PRIVATE to the collection; may change without notice. Knows no Ansible.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.holdfast.ops.plugins.module_utils._errors import redact, shorten

_OURS = "holdfast.ops."
MAINTENANCE = "maintenance"
_VERBS = ("backup", "restore", "verify", "prune", "copy", "drill")
_KEPT = (
    "backup_id",
    "level",
    "bytes",
    "stored_bytes",
    "seconds",
    "mb_per_s",
    "error_code",
    "stage",
    "hint",
    "left_behind",
    "verdict",
    "live",
    "report",
)
"""What is kept of a module's result when it is a plain value."""
_MOST_FINDINGS = 50
_LONGEST = 2000
"""Characters of a message that are kept."""


def result_line(
    action: str, args: Mapping[str, Any], returned: Mapping[str, Any], host: str, *, failed: bool
) -> dict[str, Any] | None:
    """What is kept of a result of one of our modules; None when it is of another."""
    module = action[len(_OURS) :] if action.startswith(_OURS) else ""
    if module == "component":
        verb = args.get("verb")
    elif module == MAINTENANCE:
        verb = MAINTENANCE
    else:
        verb = next((verb for verb in _VERBS if module.endswith(f"_{verb}")), None)
    if verb is None or verb == "info" or returned.get("skipped"):
        return None
    line = {"verb": str(verb), "host": host, "ok": not (failed or returned.get("failed")), "msg": _said(returned)}
    line["changed"] = bool(returned.get("changed"))
    line.update({name: returned[name] for name in _KEPT if isinstance(returned.get(name), (str, int, float))})
    if verb == "select":
        line.update({name: returned[name] for name in ("components", "policies") if name in returned})
        return line
    if verb == MAINTENANCE:
        return {**line, **_of_maintenance(returned)}
    line["component"] = str(returned.get("component") or returned.get("item") or "")
    findings = returned.get("results")
    if isinstance(findings, list):
        line["results"] = [_finding(one) for one in findings if isinstance(one, Mapping)]
    repositories = returned.get("repositories")
    if isinstance(repositories, Mapping):
        line["repositories"] = sorted(map(str, repositories))
    elif isinstance(repositories, list):
        line["repositories"] = [str(name) for name in repositories]
    return line


def _of_maintenance(returned: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a run of maintenance: the worst of its findings, which hold no secret and nobody's data."""
    line: dict[str, Any] = {"part": str(returned.get("part") or "")}
    if isinstance(returned.get("findings"), list):
        names = ("task", "severity", "code", "subject", "text", "advice")
        found = [one for one in returned["findings"] if isinstance(one, Mapping)]
        line["findings"] = [{name: str(one.get(name) or "") for name in names} for one in found[:_MOST_FINDINGS]]
        line["acted"] = [str(name) for name in returned.get("acted") or ()]
    files = returned.get("files")
    if isinstance(files, Mapping) and files:
        line["report"] = str(files.get("html") or next(iter(files.values())))
    return line


def failure_line(task: str, returned: Mapping[str, Any], host: str) -> dict[str, Any]:
    """What is kept of another task that failed."""
    return {"task": task, "host": host, "ok": False, "msg": _said(returned)}


def _finding(one: Mapping[str, Any]) -> dict[str, Any]:
    """A verification of one backup in one repository."""
    names = ("repository", "backup_id", "level", "ok", "seconds", "restore_seconds", "data_age_seconds")
    return {name: one[name] for name in names if isinstance(one.get(name), (str, int, float, bool))}


def _said(returned: Mapping[str, Any]) -> str:
    return shorten(redact(str(returned.get("msg") or "").strip()), _LONGEST, _LONGEST // 4)
