# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Selected tables and schemas into an existing database: one transaction that proves itself before it commits.

PRIVATE to the collection; may change without notice.

pg_restore writes a script, psql runs it. The commit is ours to send: only when the archive was read to its end with
the right checksum, and the tables hold as many rows as were dumped.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..._errors import HoldfastError, NotProved, ToolFailed, Unsupported, failures_ignored
from ..._process import Process, hand_over
from .._interface import Proof, RestoreRun
from . import _toc
from ._fingerprint import compare, take
from ._plan import Plan, Wanted
from ._replace import Way, existing_schemas, make_way
from ._server import Server
from ._sql import literal
from ._stored import Stored, feed

_MISCOUNT = "holdfast: rows differ"


def restore_selected(server: Server, run: RestoreRun, stored: Stored, plan: Plan, wanted: Wanted) -> Proof:
    """Replace the selected tables and what belongs to them.

    Raises:
        NotProved: other rows came back than were dumped; nothing was changed.
        HoldfastError: nothing was changed.
    """
    (target,) = plan.targets
    source = target.described["name"]
    (dump, *more) = stored.dumps(source)
    if more or dump.kind != "dump":
        raise Unsupported(
            "Tables and schemas are restored from a dump in custom format only; this one is a directory.",
            stage="preflight",
            hint="Restore the database under another name (target_database) and copy from there.",
        )
    run.progress.stage("select")
    contents = stored.contents(server, plan.tool.path, source)
    tables = [_toc.table_name(text) for text in wanted.tables]
    schemas = [_toc.schema_name(text) for text in wanted.schemas]
    chosen = _toc.Selection(contents, tables, schemas)
    expected = stored.fingerprint(source)
    tables_held = expected.get("tables", {})
    keys = [key for key in (*tables_held, *expected.get("sequences", {})) if chosen.holds(*_toc.table_name(key))]
    sure = expected.get("level") in ("counts", "digest")
    counted = {key: tables_held[key]["rows"] for key in keys if key in tables_held and sure}
    with server.connect(target.name) as session:
        way = make_way(session, tables, schemas)
        chosen.leave_out_schemas(existing_schemas(session))
    run.progress.stage("restore", dump.size)
    with _list_file(server, run, chosen.listing()) as path:
        arguments = ["--file=-", f"--use-list={path}", "--exit-on-error"]
        if not wanted.tablespaces:
            arguments.append("--no-tablespaces")
        script = server.start(plan.tool.path, *arguments, stdin=True)
        psql = server.start(
            server.tool("psql", plan.tool.major).path,
            "-X", "-q", "-v", "ON_ERROR_STOP=1",
            database=target.name, stdin=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        _transact(server, run, dump, script, psql, Way(way.before, way.after + _count_check(counted)))
    return _proof(server, target.name, expected, keys, run)


def _transact(server: Server, run: RestoreRun, dump: Any, script: Process, psql: Process, way: Way) -> None:
    """Run the script in one transaction, committed when all was read and all rows are there."""
    into = psql.popen.stdin
    if into is None:
        raise AssertionError("into is None")
    try:
        with contextlib.suppress(BrokenPipeError):
            into.write(f"BEGIN;\n{way.before}".encode("utf-8", "surrogateescape"))
            into.flush()
            broken = _Pump(script, into.fileno(), run, dump).run()
            if not broken:
                into.write(f"{way.after}COMMIT;\n".encode("utf-8", "surrogateescape"))
        with contextlib.suppress(BrokenPipeError):
            into.close()
        psql.check(stage="restore")
    except ToolFailed as error:
        if _MISCOUNT in (error.tool_output or ""):
            raise NotProved(
                "The tables do not hold what was dumped; nothing was changed.",
                stage="prove",
                tool_output=error.tool_output,
            ) from None
        raise _explained(server, error) from None
    finally:
        psql.terminate()  # without a commit, this is the rollback
        script.terminate()


class _Pump:
    """The archive into pg_restore, and its script into psql."""

    def __init__(self, script: Process, into: int, run: RestoreRun, dump: Any) -> None:
        self._script, self._into, self._run, self._dump = script, into, run, dump
        self._broken = False

    def run(self) -> bool:
        """Move all; whether psql stopped reading (its exit code says why)."""
        out = self._script.popen.stdout
        if out is None:
            raise AssertionError("out is None")
        thread = threading.Thread(target=self._copy, args=(out.fileno(),), name="script", daemon=True)
        thread.start()
        try:
            feed(self._run, self._dump, self._script)
            thread.join()
            self._script.check(stage="restore")
        except ToolFailed:
            if not self._broken:  # pg_restore stops because psql did
                raise
        return self._broken

    def _copy(self, source: int) -> None:
        while True:
            chunk = os.read(source, 1 << 20)
            if not chunk:
                return
            view = memoryview(chunk)
            try:
                while len(view):
                    view = view[os.write(self._into, view) :]
            except BrokenPipeError:
                self._broken = True
                self._script.popen.terminate()
                return


def _count_check(counted: Mapping[str, int]) -> str:
    """A block that fails when a table holds other rows than were dumped."""
    checks = [
        f"SELECT {literal(key)} AS t, {int(rows)} AS was, count(*) AS now FROM ONLY {key}"
        for key, rows in counted.items()
    ]
    if not checks:
        return ""
    body = (
        "DECLARE r record; BEGIN FOR r IN SELECT * FROM (" + " UNION ALL ".join(checks) + ") c WHERE was <> now LOOP"
        f" RAISE EXCEPTION '{_MISCOUNT}: % has %, % were dumped', r.t, r.now, r.was; END LOOP; END"
    )
    return f"SET LOCAL row_security = off;\nDO {literal(body)};\n"


@contextlib.contextmanager
def _list_file(server: Server, run: RestoreRun, listing: str) -> Iterator[str]:
    """The list where pg_restore reads it: on this host, or in the server's container."""
    data = listing.encode("utf-8", "surrogateescape")
    if server.container:
        script = 'umask 077 && f=$(mktemp) && cat > "$f" && echo "$f"'
        _code, out, _said = server.run(["sh", "-c", script], input_bytes=data, stage="restore")
        path = out.decode().strip()
        try:
            yield path
        finally:
            with failures_ignored():
                server.run(["rm", "-f", path], check=False)
        return
    owner = server.run_as
    with run.scratch(owner.name if owner else None) as directory:
        path = os.path.join(directory, "list")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(data)
        if owner is not None:
            hand_over(path, owner)
        yield path


def _proof(server: Server, database: str, expected: Mapping[str, Any], keys: Sequence[str], run: RestoreRun) -> Proof:
    """Compare what is committed, contents too where they were recorded, and refresh the planner's statistics."""
    run.progress.stage("analyze")
    with server.connect(database) as session:
        for key in expected.get("tables", {}).keys() & set(keys):
            session.execute(f"ANALYZE {key}")
        if not expected:
            return Proof("none")
        run.progress.stage("prove")
        comparison = compare(dict(expected), take(session, expected["level"]), only=list(keys))
    return Proof(expected["level"], comparison.checked, comparison.differences, {"notes": list(comparison.notes)})


def _explained(server: Server, error: HoldfastError) -> HoldfastError:
    meant = server.describe(error.at("restore"))
    if "depend" in (meant.tool_output or ""):
        meant.hint = "Restore what depends on it too, or drop that first; nothing was changed."
    return meant
