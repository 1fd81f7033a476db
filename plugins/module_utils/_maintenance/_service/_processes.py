# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that PM2 keeps running, of which only what is known to hold no secret is told. Pure.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from ..._durations import counted
from ..._manifest import rfc3339
from .._section import CRITICAL, WARNING, Finding


def process_of(user: str, listed: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values from an element of `pm2 jlist`."""
    settings, usage = listed.get("pm2_env") or {}, listed.get("monit") or {}
    state, started = str(settings.get("status", "unknown")), settings.get("pm_uptime")
    since = datetime.fromtimestamp(started / 1000, timezone.utc) if isinstance(started, (int, float)) else None
    return {
        "user": user,
        "process": str(listed.get("name", "")),
        "state": state,
        "since": rfc3339(since) if since is not None and state == "online" else None,
        "restarts": int(settings.get("restart_time", 0)),
        "memory_bytes": int(usage.get("memory") or 0),
        "cpu_percent": float(usage.get("cpu") or 0.0),
        "pid": int(listed.get("pid") or 0) or None,
    }


def findings(process: Mapping[str, Any], restarts: tuple[float | None, float | None]) -> Iterator[Finding]:
    """What is not well with one. `restarts`: from how many on they are worth a warning, and critical."""
    name = f"{process['process']} ({process['user']})"
    # Whoever may start processes chose the name, and somebody else copies this into a shell of root's.
    logs = f"sudo -u {shlex.quote(process['user'])} pm2 logs {shlex.quote(process['process'])} --lines 50 --nostream"
    if process["state"] != "online":
        yield Finding("not_online", CRITICAL, f"PM2 has {name}, and it is {process['state']}.", name, logs)
    for limit, severity in ((restarts[1], CRITICAL), (restarts[0], WARNING)):
        if limit is not None and process["restarts"] >= limit:
            text = f"PM2 has restarted {name} {counted(process['restarts'], 'time')}."
            yield Finding("restarts", severity, text, name, logs)
            break
