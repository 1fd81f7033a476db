# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a module's parameters to an operation, and from its result or error to what the module returns.

PRIVATE to the collection; may change without notice.

`module` is an AnsibleModule or anything that looks like one; nothing here imports Ansible.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from ._arguments import BACKUP, ENCRYPTION, backup_spec, defaults
from ._durations import parse_duration
from ._engines._interface import Engine, Place, Proof
from ._errors import DiskFull, HoldfastError, Interrupted, InvalidOption, OutOfTime, PermissionDenied
from ._locks import state_directory
from ._manifest import Artefact, Backup, parse_time, safe_name, utc_now
from ._operations._backup import BackupResult, BackupSettings, DegradedBackup, backup
from ._operations._catalogue import BEFORE_RESTORE
from ._operations._restore import RestoreResult, RestoreSettings, restore
from ._progress import Progress
from ._report import BackupReport
from ._repositories._interface import Repository
from ._repositories._registry import open_repository
from ._stream._codec import Compression, Encryption, Identity

Params = Mapping[str, Any]


class Module(Protocol):
    """The part of AnsibleModule that is used here."""

    params: dict[str, Any]
    check_mode: bool
    _diff: bool

    def exit_json(self, **result: Any) -> None:
        """End with success."""

    def fail_json(self, msg: str, **result: Any) -> None:
        """End with failure."""

    def warn(self, warning: str) -> None:
        """Show a warning."""


def guarded(module: Module, work: Callable[[], dict[str, Any]], *, limited: bool = True) -> None:
    """Run the work of a module and end it: result, typed failure, or a defect with its traceback.

    Args:
        limited: whether the option `max_runtime`, if there is one, ends it; otherwise the work looks at it itself.
    """
    try:
        with _signals(_seconds(module.params, "max_runtime") if limited else None):
            result = work()
    except DegradedBackup as error:
        result = {**backup_result(error.result_of_run), **error.result()}
        _warn(module, result.pop("warnings"))
        module.fail_json(**{**result, "msg": str(error)})
    except HoldfastError as error:
        module.fail_json(**{"changed": False, **error.result(), "msg": str(error)})
    except Exception as error:
        refusal = _refusal(error)
        if refusal is not None:
            module.fail_json(**{"changed": False, **refusal.result(), "msg": str(refusal)})
            return
        module.fail_json(
            msg=f"A defect in holdfast.ops: {type(error).__name__}: {error}. Please report it with the traceback.",
            changed=False,
            error_code="internal_error",
            exception=traceback.format_exc(),
        )
    else:
        _warn(module, result.pop("warnings", []))
        module.exit_json(**result)


def _refusal(error: Exception) -> HoldfastError | None:
    """What this host's own disk refused, for an error that is the user's to mend and no defect."""
    if not isinstance(error, OSError) or not error.filename:
        return None
    path = os.fsdecode(error.filename)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"There is no more room for {path}.", hint="Make room, or move state_dir or scratch_dir.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PermissionDenied(f"No permission for {path}: {error.strerror}.", hint="Run as root (become).")
    return None


def _warn(module: Module, warnings: list[str]) -> None:
    for warning in dict.fromkeys(warnings):
        module.warn(warning)


@contextlib.contextmanager
def _signals(limit: float | None) -> Iterator[None]:
    """TERM, INT and HUP unwind the operation, so that everything is undone; so does the end of `max_runtime`."""

    def once() -> None:
        """What is undone after the first of them must not be interrupted by a second."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
            signal.signal(each, lambda number, frame: None)  # not SIG_IGN, which our children would inherit

    def interrupt(number: int, frame: object) -> None:
        once()
        raise Interrupted(f"Stopped by {signal.Signals(number).name}.", hint="Run it again.")

    def expire(number: int, frame: object) -> None:
        once()
        raise OutOfTime(f"Gave up after max_runtime ({limit:.0f} s).", hint="Raise max_runtime if that is too short.")

    before = {each: signal.signal(each, interrupt) for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, expire)
    if limit:
        signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for each, handler in before.items():
            signal.signal(each, handler)


def _seconds(params: Params, option: str) -> float | None:
    """A duration option in seconds; None when it was not given."""
    text = params.get(option)
    if text is None:
        return None
    try:
        return parse_duration(str(text)).total_seconds()
    except InvalidOption as error:
        raise InvalidOption(f"{option} {error.message}", stage="preflight") from None


def component_name(params: Params) -> str:
    """The component's name, refused when it cannot be a directory and a key."""
    name = str(params["component"])
    if safe_name(name) != name:
        raise InvalidOption(
            f"component {name!r} is not a name: letters, digits and . _ + - (not first), at most 100.",
            stage="preflight",
        )
    return name


def place(params: Params) -> Place:
    """Where the engine may work."""
    state, name = params["state_dir"], component_name(params)
    scratch = params.get("scratch_dir") or os.path.join(state, "scratch")
    return Place(name, os.path.join(state, "components", name), scratch)


@contextlib.contextmanager
def repositories(params: Params, option: str = "repositories") -> Iterator[list[Repository]]:
    """The repositories of a component, closed afterwards."""
    declared = params[option]
    names = [spec["name"] for spec in declared]
    if not names or len(set(names)) != len(names):
        raise InvalidOption(f"{option} must name at least one repository, each name once.", stage="preflight")
    opened: list[Repository] = []
    try:
        opened.extend(open_repository(spec, component_name(params)) for spec in declared)
        yield opened
    finally:
        for repository in opened:
            repository.close()


def encryption(params: Params) -> Encryption:
    given = {key: value for key, value in (params.get("encryption") or {}).items() if value is not None}
    given["recipients"] = tuple(given.get("recipients", ()))
    return Encryption(**given)


def compression(params: Params) -> Compression:
    chosen = Compression(**(params.get("compression") or {"level": 1}))
    if not 1 <= chosen.level <= 19:
        raise InvalidOption("compression.level must be between 1 and 19.", stage="preflight")
    return chosen


def identity(params: Params) -> Identity:
    return Identity(**(params.get("identity") or {}))


def progress(module: Module) -> Progress:
    return Progress(module.params.get("progress_file"), str(module.params["component"]))


def backup_settings(params: Params, *, check: bool) -> BackupSettings:
    return BackupSettings(
        component=component_name(params),
        state_dir=params["state_dir"],
        compression=compression(params),
        encryption=encryption(params),
        max_age=_seconds(params, "max_age"),
        lock_wait=_seconds(params, "lock_wait") or 0.0,
        set=params.get("set"),
        check=check,
    )


def run_backup(module: Module, engine_class: type[Engine]) -> None:
    """The whole of `<engine>_backup`."""

    def work() -> dict[str, Any]:
        params = module.params
        settings = backup_settings(params, check=module.check_mode)
        if not module.check_mode:
            state_directory(params["state_dir"])
        with repositories(params) as stores, contextlib.closing(engine_class(params, place(params))) as engine:
            if module.check_mode:
                return backup_result(backup(engine, stores, settings, progress(module)))
            report = BackupReport(params, engine_class.name, objectives(params), module.warn)
            attempt = functools.partial(backup, engine, stores, settings, progress(module), started=report.started)
            return backup_result(report.run(attempt))

    guarded(module, work)


def objectives(params: Params) -> dict[str, float | None]:
    """What was declared to be met, in seconds, as metrics publish it."""
    return {
        "rpo_seconds": _seconds(params, "rpo"),
        "rto_seconds": _seconds(params, "rto"),
        "max_duration_seconds": _seconds(params, "max_runtime"),
    }


def backup_result(outcome: BackupResult) -> dict[str, Any]:
    """What a backup module returns."""
    result: dict[str, Any] = {
        "changed": outcome.changed,
        "msg": outcome.message,
        "plan": list(outcome.plan.summary),
        "expected_bytes": outcome.plan.expected_bytes,
        "rights": {name: dict(rights) for name, rights in outcome.rights.items()},
        "repositories": outcome.committed,
        "missing": {name: str(error) for name, error in outcome.missing.items()},
        "details": outcome.details,
        "warnings": outcome.warnings,
        "diff": _diff_of(outcome.plan.summary, outcome.changed),
    }
    if outcome.backup is not None:
        result.update(describe(outcome.backup), **_speed(outcome))
    return result


def _speed(outcome: BackupResult) -> dict[str, Any]:
    if outcome.backup is None:
        raise AssertionError("outcome.backup is None")
    seconds = outcome.total_seconds
    source = outcome.backup.source_size + int(outcome.backup.references.get("source_size", 0))
    stored = outcome.backup.size + outcome.blob_bytes_sent
    return {
        "seconds": round(seconds, 3),
        "seconds_by_stage": {stage: round(value, 3) for stage, value in outcome.seconds.items()},
        "bytes": source,
        "stored_bytes": stored,
        "ratio": round(outcome.bytes_read / stored, 2) if stored else None,
        "mb_per_s": round(outcome.bytes_read / seconds / 1e6, 1) if seconds else None,
    }


def describe(one: Backup) -> dict[str, Any]:
    """A backup as modules return it."""
    return {
        "backup_id": one.id,
        "component": one.component,
        "engine": one.engine,
        "snapshot_at": one.snapshot_at,
        "finished_at": one.finished_at,
        "set": one.set,
        "encryption": dict(one.encryption),
        "fingerprint": one.fingerprint,
        "source": dict(one.source),
        "artefacts": [_describe_artefact(artefact) for artefact in one.artefacts],
    }


def _describe_artefact(artefact: Artefact) -> dict[str, Any]:
    return {"name": artefact.name, "kind": artefact.kind, "size": artefact.size, "sha256": artefact.sha256}


def _diff_of(lines: tuple[str, ...], changed: bool) -> dict[str, str]:
    after = "".join(f"{line}\n" for line in lines) if changed else ""
    return {"before": "", "after": after}


def run_restore(module: Module, engine_class: type[Engine]) -> None:
    """The whole of `<engine>_restore`."""

    def work() -> dict[str, Any]:
        params = module.params
        settings = RestoreSettings(
            component=component_name(params),
            state_dir=params["state_dir"],
            identity=identity(params),
            backup_id=params["backup_id"],
            at=_moment(params),
            confirm=params.get("confirm"),
            services=tuple(params["services"]),
            lock_wait=_seconds(params, "lock_wait") or 0.0,
            check=module.check_mode,
        )
        if not module.check_mode:
            state_directory(params["state_dir"])
        with repositories(params) as stores, contextlib.closing(engine_class(params, place(params))) as engine:

            def safety_backup(restored: Backup) -> Mapping[str, Any]:
                return _safety_backup(module, engine, stores, restored)

            hook = safety_backup if params["safety_backup"] else None
            return restore_result(restore(engine, stores, settings, progress(module), hook))

    guarded(module, work)


def _moment(params: Params) -> Any:
    if not params.get("at"):
        return None
    try:
        return parse_time(str(params["at"]))
    except ValueError:
        raise InvalidOption(
            "at is not a time; write it like 2026-11-22T02:00:00Z (UTC) or with an offset.", stage="preflight"
        ) from None


def _safety_backup(module: Module, planned: Engine, stores: list[Repository], restored: Backup) -> Mapping[str, Any]:
    """Back up what a restore is about to replace, encrypted as the backup that is restored."""
    engine_class = type(planned)
    params = {
        **defaults({**backup_spec(engine_class).options, **ENCRYPTION.options, **BACKUP.options}),
        **{name: value for name, value in module.params.items() if value is not None},
        **planned.safety_options(),
    }
    method = str(restored.encryption.get("method", "none"))
    given = params.get("identity") or {}
    params["encryption"] = {
        "method": method,
        "recipients": list(restored.encryption.get("recipients", ())),
        "passphrase_file": given.get("passphrase_file") if restored.encryption.get("symmetric") else None,
        "gpg_home": given.get("gpg_home"),
    }
    params["lock_wait"] = "0s"
    params["set"] = f"{BEFORE_RESTORE}@{utc_now():%Y%m%dT%H%M%SZ}"
    settings = backup_settings({**params, "max_age": None}, check=False)
    with contextlib.closing(engine_class(params, place(params))) as engine:
        return backup_result(backup(engine, stores, settings, progress(module), locked=True))


def restore_result(outcome: RestoreResult) -> dict[str, Any]:
    """What a restore module returns."""
    return {
        **describe(outcome.backup),
        "changed": outcome.changed,
        "msg": outcome.message,
        "plan": list(outcome.plan.summary),
        "live": outcome.plan.live,
        "repository": outcome.repository,
        "proof": proof_result(outcome.proof),
        "safety_backup": dict(outcome.safety_backup) if outcome.safety_backup else None,
        "seconds": round(sum(outcome.seconds.values()), 3),
        "seconds_by_stage": {stage: round(value, 3) for stage, value in outcome.seconds.items()},
        "warnings": outcome.warnings,
        "diff": _diff_of(outcome.plan.summary, outcome.changed),
    }


def proof_result(proof: Proof | None) -> dict[str, Any] | None:
    """What was proved, as modules return it."""
    if proof is None:
        return None
    return {
        "proved": proof.proved,
        "level": proof.level,
        "checked": proof.checked,
        "differences": list(proof.differences),
        "details": dict(proof.details),
    }
