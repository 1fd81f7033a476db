# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Outdated packages of virtual environments of Python and of projects of npm and pnpm. Nothing is installed or kept.

PRIVATE to the collection; may change without notice.

Each tool runs as the owner of the directory, with nothing of our environment; caches and logs that it wants to write go
where they are thrown away. Its own settings (an index of the company's) are its owner's; `environment` adds to that.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..._errors import NotFound, PermissionDenied, ToolFailed, Unavailable, redact
from ..._process import Account, find_program, run
from ._owner import runner

PIP, NPM, PNPM = "pip", "npm", "pnpm"
_NO_ANSWER = 5
"""Seconds that an index gets to answer one request."""
_PIP = (
    # -I: neither the directory that it is started in nor the environment adds to what it imports. -B: no file is
    # compiled beside its source.
    *("-I", "-B", "-m", "pip", "--disable-pip-version-check", "--no-input", "--no-cache-dir"),
    *("--retries", "0", "--timeout", str(_NO_ANSWER)),
)
_MOST_OF_A_LOG = 8 << 20
# pip passes over an index that does not answer, and says so nowhere but in its log; 404 is a package it does not have.
_SKIPPED = re.compile(r"Could not fetch URL \S+: (?!404)(?P<why>.*?) - skipping")


@dataclass(frozen=True)
class Outdated:
    """A package of a project that is older than it could be. What is declared and not installed is none.

    Attributes:
        wanted: what the project's own declaration allows; None where the tool does not say.
    """

    name: str
    installed: str
    wanted: str | None
    latest: str


def pip(venv: str, timeout: float, environment: Mapping[str, str]) -> list[Outdated]:
    """Of a virtual environment, by its own pip.

    Raises:
        Unavailable: the index did not answer for some package, so nobody knows.
        NotFound, PermissionDenied, Refused, ToolFailed: it could not be asked.
    """
    python = os.path.join("bin", "python")
    run_as = runner(venv, "bin", python)
    with tempfile.TemporaryFile() as log:
        if run_as is not None:
            os.fchown(log.fileno(), run_as.uid, run_as.gid)
        argv = [os.path.join(venv, python), *_PIP, "--log", f"/proc/self/fd/{log.fileno()}"]
        arguments = ["list", "--outdated", "--format", "json"]
        out = _run([*argv, *arguments], environment, run_as, timeout, pass_fds=[log.fileno()])[1]
        log.seek(0)
        skipped = _SKIPPED.search(log.read(_MOST_OF_A_LOG).decode("utf-8", "replace"))
    if skipped:
        raise Unavailable(f"The package index of {venv} did not answer.", tool_output=redact(skipped["why"])[:300])
    return parse_pip(out)


def npm(project: str, timeout: float, environment: Mapping[str, str], command: str = NPM) -> list[Outdated]:
    """Of a project with a package.json.

    Raises:
        Unavailable: its registry did not answer.
        NotFound, PermissionDenied, Refused, ToolFailed, MissingDependency: it could not be asked.
    """
    run_as = runner(project, "package.json")
    settings = {"npm_config_update_notifier": "false", "npm_config_logs_max": "0"}
    with _caches(run_as, {**settings, **environment}) as variables:
        argv = [find_program(command), "outdated", "--json", "--prefix", os.path.realpath(project)]
        code, out, said = _run(argv, variables, run_as, timeout, check=False)
    return parse_npm(project, code, out, said)


def pnpm(project: str, timeout: float, environment: Mapping[str, str], command: str = PNPM) -> list[Outdated]:
    """Of a project with a lock file of pnpm's.

    Raises:
        as `npm`.
    """
    run_as = runner(project, "package.json")
    # It must not fetch the very version of itself that the project names, in order to be asked.
    settings = {"npm_config_manage_package_manager_versions": "false", "COREPACK_ENABLE_STRICT": "0"}
    settings.update({"COREPACK_ENABLE_NETWORK": "0", "CI": "true"})
    with _caches(run_as, {**settings, **environment}) as variables:
        argv = [find_program(command), "--dir", os.path.realpath(project), "outdated", "--format", "json"]
        code, out, said = _run(argv, variables, run_as, timeout, check=False)
    return parse_pnpm(project, code, out, said)


def parse_pip(out: str) -> list[Outdated]:
    """The answer of `pip list --outdated --format json`."""
    try:
        return [Outdated(each["name"], each["version"], None, each["latest_version"]) for each in json.loads(out)]
    except (ValueError, KeyError, TypeError):
        raise ToolFailed("pip gave no list.", tool_output=out[:300]) from None


def parse_npm(project: str, code: int, out: str, said: str) -> list[Outdated]:
    """The answer of `npm outdated --json`, which exits with 1 when something is outdated, and when it failed."""
    try:
        answer = json.loads(out or "{}")
    except ValueError:
        raise ToolFailed(f"npm outdated of {project} gave no JSON.", tool_output=said or out[:300]) from None
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, Mapping) and "summary" in error:
        summary = redact(f"{error.get('code') or ''}: {error['summary']}")
        raise Unavailable(f"npm could not ask the registry of {project}.", tool_output=summary)
    if code not in (0, 1) or (code == 1 and not answer):
        raise ToolFailed(f"npm outdated of {project} exited with status {code}.", tool_output=said)
    return _outdated(answer)


def parse_pnpm(project: str, code: int, out: str, said: str) -> list[Outdated]:
    """The answer of `pnpm outdated --format json`; what it has against it stands in its errors or its output."""
    try:
        answer = json.loads(out or "{}")
    except ValueError:
        answer = {}
    if code not in (0, 1) or (code == 1 and not answer):
        words = redact((out + said).strip())
        if any(sign in words for sign in ("ERR_PNPM_META_FETCH_FAIL", "ERR_PNPM_FETCH", "FetchError")):
            raise Unavailable(f"pnpm could not ask the registry of {project}.", tool_output=words)
        raise ToolFailed(f"pnpm outdated of {project} exited with status {code}.", tool_output=words)
    return _outdated(answer)


def _outdated(answer: Mapping[str, Any]) -> list[Outdated]:
    found = []
    for name, values in sorted(answer.items()):
        # The same package of several workspaces is a list.
        for each in values if isinstance(values, list) else [values]:
            installed, latest = each.get("current"), str(each.get("latest", ""))
            if installed and installed != latest:
                found.append(Outdated(name, str(installed), each.get("wanted"), latest))
    return list(dict.fromkeys(found))


@contextlib.contextmanager
def _caches(run_as: Account | None, settings: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """An environment in which Node's tools keep what they cache in a directory that is thrown away."""
    place = tempfile.mkdtemp(prefix="holdfast-packages-")
    try:
        if run_as is not None:
            os.chown(place, run_as.uid, run_as.gid)
        homes = {f"XDG_{name}_HOME": place for name in ("CACHE", "STATE", "DATA")}
        registry = {"npm_config_fetch_retries": "0", "npm_config_fetch_timeout": str(_NO_ANSWER * 1000)}
        yield {"npm_config_cache": place, **homes, **registry, **settings}
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _run(
    argv: list[str], environment: Mapping[str, str], run_as: Account | None, timeout: float, **more: Any
) -> tuple[int, str, str]:
    try:
        code, out, said = run(argv, env=environment, run_as=run_as, timeout=timeout, **more)
    except FileNotFoundError:
        raise NotFound(f"{argv[0]} is not there, or its interpreter is not.") from None
    except PermissionError:
        who = run_as.name if run_as else "us"
        raise PermissionDenied(f"{argv[0]} may not be run by {who}.", hint=f"namei -l {argv[0]}") from None
    return code, out.decode("utf-8", "replace"), said
