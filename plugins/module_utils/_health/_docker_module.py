# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module `docker_stats_info`: what containers use, and whether that is too much.

PRIVATE to the collection; may change without notice. `module` is an AnsibleModule or anything that looks like one.
"""

from __future__ import annotations

import fnmatch
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from .._deadline import Deadline
from .._durations import counted
from .._errors import HoldfastError, InvalidOption
from .._run import Module, guarded
from .._system._docker_api import Docker
from ._docker_stats import Usage, usage
from ._interface import FAIL, PASS, WARN, Measurement, worst
from ._module import Unhealthy
from ._thresholds import judged

_LIMITS = {"type": "list", "elements": "float"}
ARGUMENTS: dict[str, Any] = {
    "containers": {"type": "list", "elements": "str", "default": []},
    "docker_host": {"type": "str"},
    "timeout": {"type": "float", "default": 15.0},
    "thresholds": {
        "type": "list",
        "elements": "dict",
        "default": [{"pattern": "*worker*", "memory": [75, 90]}, {"pattern": "*"}],
        "options": {
            "pattern": {"type": "str", "required": True},
            "memory": {**_LIMITS, "default": [85, 95]},
            "cpu": {**_LIMITS, "default": [70, 90]},
        },
    },
    "total_memory": {**_LIMITS, "default": [85, 95]},
    "disk": {**_LIMITS, "default": [80, 90]},
    "fail_on": {"type": "str", "choices": ["critical", "warning", "never"], "default": "never"},
}
"""`[warning, critical]` in percent; an empty list is no limit."""

_BAD = {"critical": (FAIL,), "warning": (WARN, FAIL), "never": ()}
_AT_ONCE = 64
"""Containers that are sampled side by side: a thread and a connection each."""


def run_docker_stats(module: Module) -> None:
    """Look, and end the module."""
    guarded(module, lambda: _run(module.params))


def _run(params: Mapping[str, Any]) -> dict[str, Any]:
    for where, pair in _pairs(params):
        if pair and (len(pair) != 2 or not 0 <= pair[0] <= pair[1] <= 100):
            raise InvalidOption(f"{where} must be two numbers between 0 and 100, the warning and the critical one.")
    deadline = Deadline(params["timeout"])
    docker = Docker(params["docker_host"], deadline)
    listed = docker.get("/containers/json")
    patterns = params["containers"]
    names = {each["Names"][0].lstrip("/"): each for each in listed}
    wanted = sorted(name for name in names if not patterns or any(fnmatch.fnmatchcase(name, p) for p in patterns))
    measured = _sample_all(params["docker_host"], wanted, deadline)
    containers = [_described(name, names[name], measured[name], params["thresholds"]) for name in wanted]
    host = _of_host(docker.get("/info"), [each for each in measured.values() if isinstance(each, Usage)], params)
    problems = [problem for each in (*containers, host) for problem in each.pop("problems")]
    found = {
        "changed": False,
        "status": worst(each["status"] for each in (*containers, host)),
        "containers": containers,
        "host": host,
        "problems": [output for _status, output in problems],
    }
    bad = [output for status, output in problems if status in _BAD[params["fail_on"]]]
    if bad:
        raise Unhealthy(f"{counted(len(bad), 'limit is', 'limits are')} reached. {' '.join(bad)}", found)
    return found


def _pairs(params: Mapping[str, Any]) -> Iterable[tuple[str, Sequence[float]]]:
    yield "total_memory", params["total_memory"]
    yield "disk", params["disk"]
    for number, each in enumerate(params["thresholds"]):
        yield f"thresholds[{number}].memory", each.get("memory") or ()
        yield f"thresholds[{number}].cpu", each.get("cpu") or ()


def _sample_all(url: str | None, names: Sequence[str], deadline: Deadline) -> dict[str, Usage | HoldfastError]:
    """Two samples of every container, all over the same second."""
    found: dict[str, Usage | HoldfastError] = {}
    gate = threading.BoundedSemaphore(_AT_ONCE)

    def sample(name: str) -> None:
        with gate:
            try:
                stream = Docker(url, deadline).stream(f"/containers/{quote(name, safe='')}/stats", {"stream": "true"})
                found[name] = usage(next(stream), next(stream))
            except StopIteration:
                found[name] = HoldfastError("It ended meanwhile.")
            except HoldfastError as error:
                found[name] = error

    threads = [threading.Thread(target=sample, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline.left()) + 1)
    for name in names:
        found.setdefault(name, deadline.missed("waiting for samples"))
    return found


def _described(
    name: str, listed: Mapping[str, Any], measured: Usage | HoldfastError, thresholds: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    described: dict[str, Any] = {"name": name, "id": listed["Id"], "image": listed["Image"]}
    if isinstance(measured, HoldfastError):
        return {**described, "status": FAIL, "problems": [(FAIL, f"{name}: {measured}")]}
    if not measured.known:
        return {**described, "status": WARN, "problems": [(WARN, f"Docker does not know what {name} uses.")]}
    threshold = next((each for each in thresholds if fnmatch.fnmatchcase(name, each["pattern"])), {})
    # Of all processors: a limit in percent means the same on every host.
    share = None if measured.cpu_percent is None else measured.cpu_percent / measured.processors
    judgements = [_judge("memory", measured.memory_percent, threshold.get("memory"), f"{name} uses of its memory")]
    if share is not None:
        judgements.append(_judge("cpu", share, threshold.get("cpu"), f"{name} uses of all processors"))
    return {
        **described,
        "cpu_percent": _rounded(measured.cpu_percent),
        "cpu_share_percent": _rounded(share),
        "memory_bytes": measured.memory_bytes,
        "memory_limit_bytes": measured.memory_limit_bytes,
        "memory_percent": _rounded(measured.memory_percent),
        "network_received_bytes": measured.network_received_bytes,
        "network_sent_bytes": measured.network_sent_bytes,
        "block_read_bytes": measured.block_read_bytes,
        "block_written_bytes": measured.block_written_bytes,
        "pids": measured.pids,
        **_outcome(judgements),
    }


def _of_host(info: Mapping[str, Any], measured: Sequence[Usage], params: Mapping[str, Any]) -> dict[str, Any]:
    """All containers together, and the disk that Docker's data lies on, where that is a disk of this host."""
    whole = int(info.get("MemTotal", 0))
    used = sum(each.memory_bytes for each in measured)
    percent = 100 * used / whole if whole else 0.0
    judgements = [_judge("memory", percent, params["total_memory"], "All containers together use of the memory")]
    root = str(info.get("DockerRootDir", ""))
    disk = None
    if root and os.path.isdir(root):
        found = os.statvfs(root)
        taken = found.f_blocks - found.f_bfree
        disk = 100 * taken / max(1, taken + found.f_bavail)
        judgements.append(_judge("disk", disk, params["disk"], f"The disk of {root} is full to"))
    return {
        "memory_bytes": used,
        "memory_total_bytes": whole,
        "memory_percent": _rounded(percent),
        "processors": int(info.get("NCPU", 0)),
        "disk_path": root,
        "disk_percent": _rounded(disk),
        **_outcome(judgements),
    }


def _judge(name: str, value: float, pair: Sequence[float] | None, what: str) -> Measurement:
    warning, critical = pair or (None, None)
    return judged(name, value, "%", warning, critical, what=what)


def _outcome(judgements: Sequence[Measurement]) -> dict[str, Any]:
    problems = [(each.status, each.output) for each in judgements if each.status != PASS]
    return {"status": worst(each.status for each in judgements), "problems": problems}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
