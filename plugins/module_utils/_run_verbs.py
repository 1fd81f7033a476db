# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the parameters of `backup_info`, `backup_verify`, `backup_prune` and `backup_copy` to operations and back.

PRIVATE to the collection; may change without notice.

`module` is an AnsibleModule or anything that looks like one; nothing here imports Ansible.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from . import _history, _metrics
from ._arguments import defaults
from ._durations import counted, format_duration, parse_duration
from ._engines._interface import Engine
from ._engines._registry import ENGINES
from ._errors import Corrupted, HoldfastError, Interrupted, InvalidOption, NotProved, Unsupported
from ._manifest import utc_now
from ._operations._catalogue import catalogue, describe_entry
from ._operations._copy import CopyResult, CopySettings, copy
from ._operations._manifest_cache import ManifestCache
from ._operations._prune import PruneResult, PruneSettings, plan_lines, prune
from ._operations._verify import EngineFactory, Finding, VerifyResult, VerifySettings, verify
from ._repositories._interface import Repository
from ._retention import Policy
from ._run import (
    Module,
    Params,
    _moment,
    _seconds,
    component_name,
    guarded,
    identity,
    place,
    progress,
    proof_result,
    repositories,
)


class Unfinished(HoldfastError):
    """An operation on several things that did not succeed with all of them; `details` tells of each."""

    def __init__(self, message: str, first: HoldfastError, details: Mapping[str, Any]) -> None:
        super().__init__(message, stage=first.stage)
        self.code = first.code
        self._fields = {**details, **first.result()}

    def result(self) -> dict[str, Any]:
        return self._fields


def _warn(module: Module, warnings: list[str | None]) -> None:
    for warning in dict.fromkeys(warnings):
        if warning:
            module.warn(warning)


def _duration(params: Params, option: str) -> timedelta:
    try:
        return parse_duration(str(params[option]))
    except InvalidOption as error:
        raise InvalidOption(f"{option} {error.message}", stage="preflight") from None


# -- info -------------------------------------------------------------------------------------------------------------


def run_info(module: Module) -> None:
    """The whole of `backup_info`."""

    def work() -> dict[str, Any]:
        params = module.params
        component = component_name(params)
        limit = params.get("limit")
        if limit is not None and limit < 1:
            raise InvalidOption("limit must be at least 1.", stage="preflight")

        def cache_of(repository: Repository) -> ManifestCache:
            return ManifestCache(params["state_dir"], component, repository.name, writable=not module.check_mode)

        with repositories(params) as stores:
            found = catalogue(stores, cache_of, stamp=params.get("set"), at=_moment(params), limit=limit)
        now = utc_now()
        backups = [describe_entry(entry, component, now) for entry in found.entries]
        shown = "" if len(backups) == found.total else f"{len(backups)} of "
        return {
            "changed": False,
            "msg": f"{component} has {shown}{counted(found.total, 'backup')}.",
            "component": component,
            "backups": backups,
            "total": found.total,
            "repositories": {
                store["name"]: {
                    "reachable": store["name"] in found.holdings,
                    "backups": len(found.holdings[store["name"]].ids) if store["name"] in found.holdings else None,
                    "error": str(found.unreachable[store["name"]]) if store["name"] in found.unreachable else None,
                }
                for store in params["repositories"]
            },
            "warnings": found.warnings,
        }

    guarded(module, work)


# -- verify -----------------------------------------------------------------------------------------------------------


def run_verify(module: Module) -> None:
    """The whole of `backup_verify`."""

    def work() -> dict[str, Any]:
        params, begun = module.params, time.time()
        settings = VerifySettings(
            component=component_name(params),
            place=place(params),
            level=params["level"],
            which=params["backup_id"],
            identity=identity(params),
            check=module.check_mode,
        )
        try:
            with repositories(params) as stores:
                outcome = verify(stores, settings, engine_maker(params), progress(module))
        except HoldfastError:
            if not module.check_mode:
                _warn(module, [_verify_metrics(params, VerifyResult(), begun, ok=False)])
            raise
        result = verify_result(outcome, settings)
        failure = verify_failure(outcome)
        _warn(module, [*outcome.warnings, *_objectives(params, outcome)])
        if not module.check_mode:
            _warn(module, [_verify_metrics(params, outcome, begun, ok=failure is None)])
            _warn(module, verify_history(params, outcome))
        if failure is not None:
            raise Unfinished(failure.message, failure, result)
        return result

    guarded(module, work)


def engine_maker(params: Params) -> EngineFactory:
    """Makes the engine that a manifest names, with the options that were given for it."""

    def make(name: str) -> Engine:
        engine = ENGINES.get(name)
        if engine is None:
            raise Unsupported(f"This holdfast does not know the engine {name}.", hint="Update the collection.")
        given = {key: value for key, value in (params.get(name) or {}).items() if value is not None}
        return engine({**defaults({**engine.OPTIONS, **engine.RESTORE_OPTIONS}), **given}, place(params))

    return make


def verify_result(outcome: VerifyResult, settings: VerifySettings) -> dict[str, Any]:
    """What `backup_verify` returns."""
    findings = [describe_finding(each) for each in outcome.findings]
    if settings.check:
        message = f"{counted(len(findings), 'backup')} would be verified."
    elif not findings:
        message = "There is nothing to verify."
    else:
        good = sum(each.ok for each in outcome.findings)
        message = f"Sound: {good} of {counted(len(findings), 'backup')} (level {settings.level})."
    plan = [f"{each.repository}: {each.backup_id} ({each.stored_bytes} bytes)" for each in outcome.findings]
    return {
        "changed": bool(findings) if settings.check else any(each.recorded for each in outcome.findings),
        "msg": message,
        "component": settings.component,
        "level": settings.level,
        "results": findings,
        "skipped_backups": outcome.skipped,
        "errors": {name: str(error) for name, error in outcome.errors.items()},
        "plan": plan if settings.check else [],
        "diff": {"before": "", "after": "".join(f"verify {line}\n" for line in plan)},
    }


def describe_finding(one: Finding) -> dict[str, Any]:
    return {
        "repository": one.repository,
        "backup_id": one.backup_id,
        "ok": one.ok,
        "level": one.level,
        "problems": one.problems,
        "shortfall": one.shortfall,
        "recorded": one.recorded,
        "seconds": round(one.seconds, 3),
        "stored_bytes": one.stored_bytes,
        "proof": proof_result(one.proof),
        "restore_seconds": round(one.restore_seconds, 3) if one.restore_seconds is not None else None,
        "data_age_seconds": round(one.data_age_seconds) if one.data_age_seconds is not None else None,
        "details": one.details,
    }


def verify_failure(outcome: VerifyResult) -> HoldfastError | None:
    """Why the module fails, if it does: what is damaged before what could not be looked at."""
    if outcome.failed:
        said = "; ".join(f"{each.backup_id} in {each.repository}: {each.problems[0]}" for each in outcome.failed[:5])
        kind = NotProved if all(each.proof is not None for each in outcome.failed) else Corrupted
        return kind(
            f"{len(outcome.failed)} of {counted(len(outcome.findings), 'backup')} failed verification: {said}",
            stage="verify",
            hint="Make a new backup now; backup_copy can bring a good copy of this one from another repository.",
        )
    if outcome.errors:
        return next(iter(outcome.errors.values()))
    if outcome.short:
        return NotProved(
            " ".join(each.shortfall or "" for each in outcome.short[:5]),
            stage="verify",
            hint="Make backups with a fingerprint of counts or digest.",
        )
    return None


def _verify_metrics(params: Params, outcome: VerifyResult, begun: float, *, ok: bool) -> str | None:
    restored = [each for each in outcome.findings if each.restore_seconds is not None]
    newest = max(restored, key=lambda each: each.backup_id) if restored else None
    return _metrics.record_verify(
        params.get("textfile_dir"),
        str(params["component"]),
        outcome=_metrics.SUCCESS if ok else _metrics.FAILURE,
        started=begun,
        seconds=time.time() - begun,
        levels=[
            _metrics.LevelResult(each.repository, each.level, each.ok)
            for each in outcome.findings
            if each.level is not None
        ],
        restore_seconds=newest.restore_seconds if newest else None,
        data_age_seconds=newest.data_age_seconds if newest else None,
    )


def verify_history(params: Params, outcome: VerifyResult) -> list[str | None]:
    """Note the worst result of each backup over the repositories."""
    worst: dict[str, Finding] = {}
    for each in outcome.findings:
        if each.level is not None and (each.backup_id not in worst or not each.ok):
            worst[each.backup_id] = each
    said = []
    for each in worst.values():
        said.append(
            _history.record_verification(params.get("history"), each.backup_id, str(each.level), each.ok, utc_now())
        )
        if said[-1]:
            break  # it is down: one warning will do, and one wait
    return said


def _objectives(params: Params, outcome: VerifyResult) -> list[str]:
    """What a restore that was measured says about the objectives."""
    rto, rpo = _seconds(params, "rto"), _seconds(params, "rpo")
    said = []
    for each in outcome.findings:
        if rto is not None and each.restore_seconds is not None and each.restore_seconds > rto:
            took = format_duration(timedelta(seconds=round(each.restore_seconds)))
            said.append(f"The restore of {each.backup_id} took {took}, longer than its rto ({params['rto']}).")
        if rpo is not None and each.data_age_seconds is not None and each.data_age_seconds > rpo:
            age = format_duration(timedelta(seconds=round(each.data_age_seconds)))
            said.append(f"The data of {each.backup_id} is {age} old, more than its rpo ({params['rpo']}).")
    return said


# -- prune ------------------------------------------------------------------------------------------------------------


def run_prune(module: Module) -> None:
    """The whole of `backup_prune`."""

    def work() -> dict[str, Any]:
        params, begun = module.params, time.time()
        policy = Policy.from_options(params["retention"])
        settings = PruneSettings(
            component=component_name(params),
            state_dir=params["state_dir"],
            policy=policy,
            verified_level=params["retention"]["verified_level"],
            blob_grace=_duration(params, "blob_grace"),
            max_runtime=_duration(params, "max_runtime"),
            check=module.check_mode,
        )
        if settings.blob_grace <= settings.max_runtime:
            raise InvalidOption(
                f"blob_grace ({params['blob_grace']}) must be longer than max_runtime ({params['max_runtime']}).",
                stage="preflight",
                hint="A running backup could otherwise lose a large file that it relies on.",
            )
        done: list[PruneResult] = []
        errors: dict[str, HoldfastError] = {}
        with repositories(params) as stores:
            for store in stores:
                try:
                    done.append(prune(store, settings, progress(module)))
                except Interrupted:
                    raise
                except HoldfastError as error:
                    errors[store.name] = error
        _warn(module, [line for each in done for line in each.warnings])
        if not module.check_mode:
            _warn(module, [_prune_metrics(params, policy, done, begun, ok=not errors)])
        result = prune_result(done, errors, settings)
        if errors:
            said = "; ".join(f"{name}: {error.message}" for name, error in errors.items())
            raise Unfinished(f"Not pruned: {said}", next(iter(errors.values())), result)
        return result

    guarded(module, work)


def prune_result(
    done: list[PruneResult], errors: Mapping[str, HoldfastError], settings: PruneSettings
) -> dict[str, Any]:
    """What `backup_prune` returns."""
    before, after = [], []
    for each in done:
        lines = plan_lines(each)
        before += lines[0]
        after += lines[1]
    deleted = sum(len(each.deleted) for each in done)
    left = sum(each.left for each in done)
    verb = "would be deleted" if settings.check else "deleted"
    return {
        "changed": any(each.changed for each in done),
        "msg": f"{counted(deleted, 'backup')} {verb}, {left} kept.",
        "component": settings.component,
        "policy": str(settings.policy),
        "repositories": {each.repository: _describe_prune(each) for each in done},
        "errors": {name: str(error) for name, error in errors.items()},
        "diff": {"before": "".join(f"{x}\n" for x in before), "after": "".join(f"{x}\n" for x in after)},
    }


def _describe_prune(one: PruneResult) -> dict[str, Any]:
    return {
        "deleted": one.deleted,
        "kept": one.left,
        "verified": one.verified,
        "skipped": one.skipped,
        "freed_bytes": one.freed_bytes,
        "orphans": one.orphans,
        "uploads": one.uploads,
        "blobs_marked": len(one.blobs.mark),
        "blobs_deleted": len(one.blobs.delete),
        "blobs_waiting": len(one.blobs.waiting),
        "blobs_missing": list(one.blobs.missing),
        "plan": [
            {"backup_id": each.id, "action": each.action, "reasons": list(each.reasons)} for each in one.plan.decisions
        ],
    }


def _prune_metrics(params: Params, policy: Policy, done: list[PruneResult], begun: float, *, ok: bool) -> str | None:
    return _metrics.record_prune(
        params.get("textfile_dir"),
        str(params["component"]),
        outcome=_metrics.SUCCESS if ok else _metrics.FAILURE,
        started=begun,
        seconds=time.time() - begun,
        minimum_verified=policy.minimum_verified,
        repositories=[
            _metrics.PruneState(each.repository, each.left, each.verified, len(each.deleted), each.freed_bytes)
            for each in done
        ],
    )


# -- copy -------------------------------------------------------------------------------------------------------------


def run_copy(module: Module) -> None:
    """The whole of `backup_copy`."""

    def work() -> dict[str, Any]:
        params, begun = module.params, time.time()
        newer_than = _seconds(params, "newer_than")
        settings = CopySettings(
            component=component_name(params),
            state_dir=params["state_dir"],
            which=params["backup_id"],
            since=utc_now() - timedelta(seconds=newer_than) if newer_than is not None else None,
            lock_wait=_seconds(params, "lock_wait") or 0.0,
            check=module.check_mode,
        )
        with repositories(params) as stores:
            source, destination = _ends(params, stores)
            try:
                outcome = copy(source, destination, settings, progress(module))
            except HoldfastError:
                if not module.check_mode:
                    _warn(module, [_copy_metrics(params, CopyResult(), begun, ok=False)])
                raise
        _warn(module, [*outcome.warnings])
        if not module.check_mode:
            _warn(module, [_copy_metrics(params, outcome, begun, ok=not outcome.failed)])
        result = copy_result(outcome, source, destination, settings, time.time() - begun)
        if outcome.failed:
            said = "; ".join(f"{name}: {error.message}" for name, error in outcome.failed.items())
            raise Unfinished(f"Not copied: {said}", next(iter(outcome.failed.values())), result)
        return result

    guarded(module, work)


def _ends(params: Params, stores: list[Repository]) -> tuple[Repository, Repository]:
    """Source and destination, by name; the source is the first repository unless another one is named."""
    by_name = {store.name: store for store in stores}
    names = {"source": params.get("source") or stores[0].name, "destination": params["destination"]}
    for option, name in names.items():
        if name not in by_name:
            raise InvalidOption(
                f"{option} {name!r} is none of the repositories; there are: {', '.join(by_name)}.", stage="preflight"
            )
    if names["source"] == names["destination"]:
        raise InvalidOption("source and destination are the same repository.", stage="preflight")
    return by_name[names["source"]], by_name[names["destination"]]


def copy_result(
    outcome: CopyResult, source: Repository, destination: Repository, settings: CopySettings, seconds: float
) -> dict[str, Any]:
    """What `backup_copy` returns."""
    count = len(outcome.copied)
    verb = "would be copied" if settings.check else "copied"
    there = f"{len(outcome.present)} already there"
    return {
        "changed": bool(outcome.copied),
        "msg": f"{counted(count, 'backup')} {verb} from {source.name} to {destination.name}, {there}.",
        "component": settings.component,
        "source": source.name,
        "destination": destination.name,
        "copied": outcome.copied,
        "present": outcome.present,
        "not_copied": {name: str(error) for name, error in outcome.failed.items()},
        "sent_bytes": outcome.sent_bytes,
        "seconds": round(seconds, 3),
        "mb_per_s": round(outcome.sent_bytes / seconds / 1e6, 1) if seconds and outcome.sent_bytes else None,
        "plan": outcome.plan,
        "diff": {"before": "", "after": "".join(f"{line}\n" for line in outcome.plan)},
    }


def _copy_metrics(params: Params, outcome: CopyResult, begun: float, *, ok: bool) -> str | None:
    return _metrics.record_copy(
        params.get("textfile_dir"),
        str(params["component"]),
        outcome=_metrics.SUCCESS if ok else _metrics.FAILURE,
        started=begun,
        seconds=time.time() - begun,
        destination=str(params["destination"]),
        sent_bytes=outcome.sent_bytes,
    )
