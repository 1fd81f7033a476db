# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL: pg_dump within an exported snapshot, restored into a new database, proved, then swapped.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any, ClassVar

from .._errors import Corrupted
from .._process import Process, account, find_program
from .._stream._source import ProcessSource
from .._stream._write import Stream
from ._interface import BackupPlan, BackupRun, Engine, Proof, RestorePlan, RestoreRun


class PostgresqlEngine(Engine):
    """A database of a PostgreSQL server."""

    name = "postgresql"
    OPTIONS: ClassVar[Mapping[str, Any]] = {
        "database": {"type": "str"},
        "login_unix_socket": {"type": "str"},
        "login_port": {"type": "int", "default": 5432},
        "login_user": {"type": "str", "default": "postgres"},
        "bin_dir": {"type": "path"},
        "run_as": {"type": "str"},
    }

    def _connect(self, database: str) -> Any:
        import psycopg

        return psycopg.connect(
            host=self.options["login_unix_socket"],
            port=self.options.get("login_port") or 5432,
            user=self.options.get("login_user") or "postgres",
            dbname=database,
        )

    def _tool(self, name: str, *arguments: str, stdin: int = subprocess.DEVNULL) -> Process:
        program = find_program(name, [self.options["bin_dir"]] if self.options.get("bin_dir") else [])
        where = ["-h", self.options["login_unix_socket"], "-U", self.options.get("login_user") or "postgres"]
        where += ["-p", str(self.options.get("login_port") or 5432)]
        return Process([program, *where, *arguments], stdin=stdin, run_as=account(self.options.get("run_as")))

    def plan_backup(self) -> BackupPlan:
        with self._connect(self.options["database"]) as connection:
            size = connection.execute("SELECT pg_database_size(current_database())").fetchone()[0]
        return BackupPlan(size, (f"database {self.options['database']}",), {"database": self.options["database"]})

    def _counts(self, connection: Any) -> dict[str, int]:
        tables = connection.execute(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1"
        ).fetchall()
        return {name: connection.execute(f"SELECT count(*) FROM ONLY {name}").fetchone()[0] for (name,) in tables}

    def backup(self, run: BackupRun) -> None:
        database = self.options["database"]
        with self._connect(database) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            snapshot = connection.execute("SELECT pg_export_snapshot()").fetchone()[0]
            run.snapshot_taken()
            source = ProcessSource(
                lambda: self._tool("pg_dump", "-Fc", "-Z0", f"--snapshot={snapshot}", "-d", database)
            )
            run.store(Stream("database.dump", "dump", source, restore="pg_restore --create -d postgres"))
            run.fingerprint("counts", self._counts(connection))

    def plan_restore(self, run: RestoreRun) -> RestorePlan:
        return RestorePlan((f"new database {self.options['database']}",))

    def restore(self, run: RestoreRun) -> Proof:
        database = self.options["database"]
        with self._connect("postgres") as connection:
            connection.autocommit = True
            connection.execute(f'CREATE DATABASE "{database}" TEMPLATE template0')
        artefact = run.backup.artefact("dump")
        if artefact is None:
            raise Corrupted(f"{run.backup.id} has no dump.")
        run.reader.to_process(
            artefact, self._tool("pg_restore", "--exit-on-error", "-d", database, stdin=subprocess.PIPE)
        )
        expected = run.fingerprint() or {}
        with self._connect(database) as connection:
            found = self._counts(connection)
        differences = tuple(t for t in {**expected, **found} if expected.get(t) != found.get(t))
        return Proof("counts", len(expected), differences)

    def verify_archive(self, run: RestoreRun) -> Mapping[str, Any]:
        raise Corrupted("not yet")

    def verify_restore(self, run: RestoreRun) -> Proof:
        raise Corrupted("not yet")
