# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the parameters of `backup_drill` to a rehearsed restore, and from its judgement to what is returned and told.

PRIVATE to the collection; may change without notice. `module` is an AnsibleModule or anything that looks like one.
"""

from __future__ import annotations

import platform
import socket
import time
from datetime import timedelta
from typing import Any

from . import _metrics
from ._durations import parse_duration
from ._errors import HoldfastError, Interrupted, InvalidOption, NotProved
from ._manifest import utc_now
from ._operations._drill import FAILED, PASSED, Drill, Objectives, judge, write_report
from ._operations._verify import VerifyResult, VerifySettings, verify
from ._repositories._interface import Repository
from ._run import Module, Params, _seconds, component_name, guarded, identity, place, progress, repositories
from ._run_verbs import Unfinished, _warn, describe_finding, engine_maker, verify_failure, verify_history, verify_result

_SHORTEST_KEPT = timedelta(days=365)
"""Reports are evidence: a year of them at least."""


VERSION = "1.0.0"
"""Of this collection, as galaxy.yml has it, which a module cannot read."""


class ObjectiveMissed(HoldfastError):
    """A restore was proved, and took longer or brought back older data than the policy allows."""

    code = "objective_missed"


def run_drill(module: Module) -> None:
    """The whole of `backup_drill`."""

    def work() -> dict[str, Any]:
        params = module.params
        settings = VerifySettings(
            component=component_name(params),
            place=place(params),
            level="restore",
            which=params["backup_id"],
            identity=identity(params),
            check=module.check_mode,
        )
        _kept(params)
        if settings.which in ("all", "unverified"):
            raise InvalidOption("A drill restores one backup: backup_id is an id or latest.", stage="preflight")
        if module.check_mode:
            with repositories(params) as stores:
                return verify_result(
                    verify(_chosen(params, stores), settings, engine_maker(params), progress(module)), settings
                )
        return _rehearse(module, settings)

    guarded(module, work)


def _rehearse(module: Module, settings: VerifySettings) -> dict[str, Any]:
    params, begun, started = module.params, utc_now(), time.time()
    objectives = Objectives(_seconds(params, "rto"), _seconds(params, "rpo"))
    outcome, error = VerifyResult(), None
    clock = time.monotonic()
    try:
        with repositories(params) as stores:
            chosen = _chosen(params, stores)
            outcome = verify(chosen, settings, engine_maker(params), progress(module))
    except HoldfastError as failure:
        error = failure
    drill = Drill(
        settings.component,
        socket.gethostname(),
        begun,
        time.monotonic() - clock,
        judge(outcome.findings, {name: str(each) for name, each in outcome.errors.items()}, objectives),
        [describe_finding(each) for each in outcome.findings],
        objectives,
        {"holdfast.ops": VERSION, "Python": platform.python_version(), "system": platform.platform()},
        {**error.result(), "msg": str(error)} if error is not None else None,
        tuple(dict.fromkeys(outcome.warnings)),
    )
    _warn(module, [*outcome.warnings, _tell_metrics(params, drill, outcome, started), *verify_history(params, outcome)])
    if isinstance(error, Interrupted):
        raise error  # there is no time left for more than that
    result = _result(drill, outcome, write_report(params["reports_dir"], drill, _kept(params), utc_now()))
    why = error or _why(drill, outcome)
    if why is not None:
        raise Unfinished(str(why), why, result)
    return result


def _kept(params: Params) -> timedelta:
    try:
        kept = parse_duration(params["keep_reports"])
    except InvalidOption as error:
        raise InvalidOption(f"keep_reports {error.message}", stage="preflight") from None
    if kept < _SHORTEST_KEPT:
        raise InvalidOption("keep_reports must be at least 365d: reports are evidence.", stage="preflight")
    return kept


def _chosen(params: Params, stores: list[Repository]) -> list[Repository]:
    """The repositories to restore from: all of them unless one is named."""
    name = params.get("source")
    chosen = [store for store in stores if name in (None, store.name)]
    if not chosen:
        raise InvalidOption(
            f"source {name!r} is none of the repositories; there are: {', '.join(store.name for store in stores)}.",
            stage="preflight",
        )
    return chosen


def _why(drill: Drill, outcome: VerifyResult) -> HoldfastError | None:
    """Why a drill that came to its end did not pass; None when it passed."""
    if drill.passed:
        return None
    failure = verify_failure(outcome)
    if failure is not None:
        return failure
    missed = [check for check in drill.checks if not check.ok]
    said = "; ".join(f"{check.name}: {check.found}, demanded: {check.demanded}" for check in missed)
    if not missed:
        return NotProved("Nothing was restored, so nothing is proved.", stage="drill")
    kind = NotProved if any(check.name.startswith(("proved", "sound")) for check in missed) else ObjectiveMissed
    return kind(f"The drill did not pass. {said}", stage="drill", hint="The report tells more.")


def _result(drill: Drill, outcome: VerifyResult, report: str) -> dict[str, Any]:
    """What `backup_drill` returns."""
    return {
        "changed": True,
        "msg": f"The drill of {drill.component} {PASSED if drill.passed else FAILED}.",
        "component": drill.component,
        "verdict": PASSED if drill.passed else FAILED,
        "checks": [check.as_dict() for check in drill.checks],
        "results": list(drill.findings),
        "errors": {name: str(error) for name, error in outcome.errors.items()},
        "report": report,
        "seconds": round(drill.seconds, 3),
    }


def _tell_metrics(params: Params, drill: Drill, outcome: VerifyResult, started: float) -> str | None:
    """The worst of all repositories: a drill is as good as its slowest restore and its oldest data."""
    restores = [each.restore_seconds for each in outcome.findings if each.restore_seconds is not None]
    ages = [each.data_age_seconds for each in outcome.findings if each.data_age_seconds is not None]
    proofs = [each.proof for each in outcome.findings if each.proof is not None]
    return _metrics.record_drill(
        params.get("textfile_dir"),
        drill.component,
        outcome=_metrics.SUCCESS if drill.passed else _metrics.FAILURE,
        started=started,
        seconds=drill.seconds,
        measured={
            "restore_seconds": max(restores, default=None),
            "data_loss_seconds": max(ages, default=None),
            "rto_target_seconds": drill.objectives.rto,
            "rpo_target_seconds": drill.objectives.rpo,
            "max_age_seconds": _seconds(params, "interval"),
            "checks_failed": sum(not check.ok for check in drill.checks) + (drill.error is not None),
            "compared": sum(proof.checked for proof in proofs),
            "differences": sum(len(proof.differences) for proof in proofs),
        },
    )
