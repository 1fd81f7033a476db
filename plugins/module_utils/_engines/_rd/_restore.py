# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore: the dump takes the place of the server's files while it is stopped, is proved, or everything is undone.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..._errors import HoldfastError, Interrupted, MissingDependency, NotProved, ToolFailed, VersionMismatch
from ..._manifest import utc_now
from .._interface import Proof, RestorePlan, RestoreRun
from ._client import Refusal
from ._files import PREVIOUS, Journal, local_error
from ._plan import OPTIONS, Target, find_target, make_plan
from ._programs import check_file
from ._prove import Recorded, fetch, prove
from ._rdb import Contents
from ._scratch import DUMP
from ._server import Server, State, wait_until_loaded
from ._verify import SILENCE, dump_of

__all__ = ["OPTIONS", "RestoreJob"]

PAUSE = 0.2
"""Seconds between two looks at a server that starts."""


class RestoreJob:
    """One restore into one server."""

    def __init__(self, server: Server, options: Mapping[str, Any], run: RestoreRun) -> None:
        self._server = server
        self._options = options
        self._run = run
        self._recorded = Recorded.of(run)
        self._keep = options.get("keep_previous") is not False
        self._patience = float(options.get("load_timeout") or 1800)
        self._target: Target | None = None

    @property
    def target(self) -> Target:
        if self._target is None:
            self._target = find_target(self._server, self._options, self._run)
        return self._target

    def plan(self) -> RestorePlan:
        return make_plan(self._server, self.target, self._recorded, self._run, self._keep)

    def execute(self) -> Proof:
        """Bring it back, or leave everything as it was."""
        files = self.target.files
        try:
            self._recover()
            with files.staged() as staging:
                self._run.progress.stage("fetch", dump_of(self._run).size)
                path = os.path.join(staging, DUMP)
                contents = fetch(self._run, dump_of(self._run), path, self._recorded)
                self._check(path, staging, contents)
                # The server replaces the file that it has loaded; what is open stays, to be compared with.
                with open(path, "rb") as dump:
                    return self._replace(f"/proc/{os.getpid()}/fd/{dump.fileno()}", contents)
        except OSError as error:
            raise local_error(error, files.path) from error

    def _recover(self) -> None:
        """Put back what a killed restore has moved. The component's lock is held, so nobody is at it."""
        target = self.target
        journal = target.files.journal()
        if journal is None:
            return
        if journal.previous and os.path.isdir(journal.previous):
            self._put_back(journal)
            self._run.warn("A restore that was killed was undone first.")
        shutil.rmtree(target.files.staging)

    def _check(self, path: str, staging: str, contents: Contents) -> None:
        self._run.progress.stage("check")
        try:
            check_file(path, staging, contents, self._options.get("bin_dir"), None)
        except (MissingDependency, VersionMismatch) as error:
            self._run.warn(
                f"The dump was not looked at by the server's own checker before the server was stopped: {error}"
            )

    # -- with the files -------------------------------------------------------------------------------------------

    def _replace(self, dump: str, contents: Contents) -> Proof:
        """Let the server load the staged dump instead of its own files.

        Args:
            dump: a path that leads to the dump wherever it is moved.
        """
        target, files = self.target, self.target.files
        running = target.service.is_running()
        stamp = utc_now().strftime("%Y%m%dT%H%M%S%f")[:-3]
        journal = Journal(os.path.join(files.path, f"{PREVIOUS}{stamp}Z"), running)
        if target.state is not None and target.state.total and not files.append_only:
            self._save()
        files.write_journal(journal)
        try:
            self._stop()
            journal = Journal(journal.previous, running, tuple(files.present()))
            files.write_journal(journal)
            self._run.progress.stage("place")
            owner = files.owner()
            files.move_away(journal.previous)
            files.place(DUMP, owner)
            proof = self._start_and_prove(dump, contents)
        except BaseException as error:
            left = self._undo(journal)
            told = local_error(error, files.path) if isinstance(error, OSError) else error
            if isinstance(told, HoldfastError):
                told.left_behind = told.left_behind or left
            raise told from None
        return replace(proof, details={**proof.details, "previous": self._finish(journal.previous)})

    def _save(self) -> None:
        """Have the data on the server's disk before it is stopped: not every server saves when it ends.

        Raises:
            ToolFailed: it cannot; nothing was touched.
        """
        self._run.progress.stage("save")
        self._saved()  # one that is under way is of an earlier moment
        self._server.command("BGSAVE", stage="save")
        if self._saved().info.get("rdb_last_bgsave_status") != "ok":
            raise ToolFailed(
                "The server cannot save its data, which would be lost when it is stopped.",
                stage="save",
                hint="Look at its log; often its disk is full.",
            )

    def _saved(self) -> State:
        """Wait until no save is under way."""
        deadline = time.monotonic() + self._patience
        while True:
            state = self._server.state()
            if state.info.get("rdb_bgsave_in_progress") != "1":
                return state
            if time.monotonic() > deadline:
                raise ToolFailed("The server does not finish saving its data.", stage="save")
            time.sleep(PAUSE)

    def _stop(self) -> None:
        self._run.progress.stage("stop")
        self._server.close()
        self.target.service.stop(self._patience)
        if self.target.service.is_running():
            raise ToolFailed(f"{self.target.service.name} was told to stop and still runs.", stage="stop")

    def _start_and_prove(self, dump: str, contents: Contents) -> Proof:
        self._run.progress.stage("start")
        self.target.service.start()
        state = self._loaded(quiet=True)
        before = self.target.settings["appendonly"] == "yes"
        if (state.info.get("aof_enabled") == "1") != before:
            self._run.warn(f"The append-only file is {'off' if before else 'on'} since the start, as it is configured.")
        self._run.progress.stage("prove")
        try:
            proof = prove(self._server, dump, contents, self._recorded, SILENCE)
        finally:
            self._let_write()
        if proof.differences:
            raise NotProved(
                f"The server at {self._server.where} does not hold what was dumped: {' '.join(proof.differences[:5])}",
                stage="prove",
                hint="A client may have written meanwhile: declare what uses the server in services.",
            )
        return proof

    def _loaded(self, *, quiet: bool) -> State:
        """Wait until the server has loaded its data.

        Args:
            quiet: let no client write; it is asked while the server still loads, so that none comes first.
        """
        service, server = self.target.service, self._server

        def alive() -> None:
            if not service.is_running():
                raise ToolFailed(
                    f"{service.name} did not start with the restored data.",
                    stage="start",
                    hint="Look at its log.",
                )

        def pause() -> None:
            time.sleep(PAUSE)
            if quiet:
                self._let_nobody_write()

        state = wait_until_loaded(server, self._patience, alive, pause)
        if quiet:
            self._let_nobody_write()
        return state

    def _let_nobody_write(self) -> None:
        """Hold back what clients write, expiry and eviction as well, for as long as this may take."""
        self._ask_kindly("CLIENT", "PAUSE", str(int(self._patience * 1000)), "WRITE")

    def _let_write(self) -> None:
        self._ask_kindly("CLIENT", "UNPAUSE")

    def _ask_kindly(self, *words: str) -> None:
        try:
            self._server.ask(*words)
        except Interrupted:
            raise
        except (Refusal, HoldfastError):
            return  # before 6.2, not allowed to, or not up yet: then services have to be stopped

    def _finish(self, previous: str) -> str | None:
        """What becomes of the old files; where they are."""
        if not os.listdir(previous):
            os.rmdir(previous)
            return None
        if not self._keep:
            shutil.rmtree(previous)
            return None
        self._run.warn(f"What was replaced is kept in {previous}; remove it when it is no longer wanted.")
        return previous

    # -- undoing --------------------------------------------------------------------------------------------------

    def _undo(self, journal: Journal) -> str | None:
        """Put everything back as it was; what could not be, as a sentence."""
        for last in (False, True):
            try:
                self._put_back(journal)
            except Interrupted:  # the only one of this run, so that the second try goes through
                if last:
                    raise
            except (HoldfastError, OSError) as error:
                self.target.files.keep_staging = True  # the journal is in it
                return (
                    f"the old files are in {journal.previous}, as far as they are not back in "
                    f"{self.target.files.path}, and the server may not run: {error}"
                )
            else:
                return None
        return None

    def _put_back(self, journal: Journal) -> None:
        target = self.target
        self._server.close()
        moved = os.path.isdir(journal.previous)
        if moved and target.service.is_running():
            target.service.stop(self._patience)
        target.files.put_back(journal)
        if journal.running and not target.service.is_running():
            target.service.start()
            self._loaded(quiet=False)
