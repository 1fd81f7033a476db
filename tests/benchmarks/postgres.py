# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL: streamed and parallel backups, and restores, against pipes and scripts of the usual tools."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

from ..support.playbook import run_playbook
from .measure import Aim, Contest, Contestant, Sample, children_cpu, cpu_of, shell, verb
from .stand import Stand

RESTIC = "restic -q --no-cache"
AFTER_RESTORE = ("analyze", "prove", "amcheck", "swap")
"""Stages of a restore that follow the end of pg_restore."""


class _Bench:
    """The contestants over one database."""

    def __init__(self, stand: Stand, database: str) -> None:
        self.stand = stand
        self.database = database
        self._bucket = ""
        self._work = Path()

    # -- before and after each run ----------------------------------------------------------------------------------

    def prepare(self) -> None:
        self._bucket = self.stand.new_bucket()
        self._work = self.stand.new_directory("run")

    def clean(self) -> None:
        if self._bucket:
            self.stand.seaweed.drop_bucket(self._bucket)
        shutil.rmtree(self._work, ignore_errors=True)
        self._bucket = ""

    def restic_init(self) -> None:
        self.prepare()
        shell(f"{RESTIC} -r {self.restic} init", env=self.stand.s3_env)

    @property
    def restic(self) -> str:
        return f"s3:{self.stand.seaweed.endpoint}/{self._bucket}"

    # -- runs -------------------------------------------------------------------------------------------------------

    def tools(self, command: Callable[[], str]) -> Callable[[], Sample]:
        """A command line as people write it; PostgreSQL's tools and the store's keys are in the environment."""

        def run() -> Sample:
            # /bin/sh's own arithmetic apart, nothing is left out: the tools' start is part of what people wait for.
            env = {**self.stand.postgres.env, **self.stand.s3_env}
            return shell(command(), self.stand.servers, env, self._work)

        return run

    def task(self, kind: str, repositories: Sequence[dict[str, Any]], **options: Any) -> dict[str, Any]:
        server = self.stand.postgres
        where = {
            "login_unix_socket": str(server.socket_dir),
            "login_port": server.port,
            "login_user": "postgres",
            "bin_dir": str(server.bin_dir),
        }
        return {
            "verb": kind,
            "engine": "postgresql",
            "options": {**where, "database": self.database, **options},
            "repositories": list(repositories),
            "state": str(self._work),
            "level": 1,
        }

    def backup(self, stores: str, **options: Any) -> Callable[[], Sample]:
        def run() -> Sample:
            places = {
                "s3": lambda: self.stand.s3(self._bucket),
                "local": lambda: {"name": "local", "type": "local", "path": str(self._work / "local")},
            }
            return verb(
                self.task("backup", [places[one]() for one in stores.split("+")], **options), self.stand.servers
            )

        return run

    def with_ansible(self) -> Sample:
        """The same as one task of a play: controller, module transfer, interpreter and imports included."""
        task = self.task("backup", [self.stand.s3(self._bucket)], fingerprint="estimate")
        module = {
            "component": "bench",
            "state_dir": task["state"],
            "repositories": task["repositories"],
            **task["options"],
        }
        play = {"hosts": "localhost", "gather_facts": False, "tasks": [{"holdfast.ops.postgresql_backup": module}]}
        before, usage = cpu_of(self.stand.servers), children_cpu()
        started = time.monotonic()
        run_playbook([play], self._work).succeeded()
        wall = time.monotonic() - started
        return Sample(wall, children_cpu() - usage, cpu_of(self.stand.servers) - before)


def _streamed(stand: Stand, key: str, database: str, title: str, limit: float, slow: int | None) -> Contest:
    """`slow`: rounds of the peers that are many times slower than the pipe, when not all."""
    bench = _Bench(stand, database)

    def peer(name: str, command: Callable[[], str], prepare: Callable[[], object] | None = None) -> Contestant:
        rounds = None if name.startswith("pipe") else slow
        return Contestant(name, bench.tools(command), prepare or bench.prepare, bench.clean, rounds)

    def ours(name: str, stores: str, **options: Any) -> Contestant:
        return Contestant(name, bench.backup(stores, **options), bench.prepare, bench.clean)

    db = database
    contestants = [
        peer(
            "pipe: pg_dump -Fc -Z0 | zstd -T0 -1 > /dev/null",
            lambda: f"pg_dump -Fc -Z0 {db} | zstd -q -T0 -1 > /dev/null",
        ),
        ours("holdfast → SeaweedFS (estimate)", "s3", fingerprint="estimate"),
        ours("holdfast → SeaweedFS (counts)", "s3", fingerprint="counts"),
        ours("holdfast → SeaweedFS and local (estimate)", "s3+local", fingerprint="estimate"),
        Contestant("holdfast → SeaweedFS (estimate), with Ansible", bench.with_ansible, bench.prepare, bench.clean),
        peer(
            "pg_dump -Fc -Z0 | zstd -T0 -1 | rclone rcat",
            lambda: f"pg_dump -Fc -Z0 {db} | zstd -q -T0 -1 | rclone rcat store:{bench._bucket}/d",
        ),
        peer(
            "restic backup --stdin",
            lambda: f"pg_dump -Fc -Z0 {db} | {RESTIC} -r {bench.restic} backup --stdin",
            bench.restic_init,
        ),
        peer("pg_dump -Fc | rclone rcat", lambda: f"pg_dump -Fc {db} | rclone rcat store:{bench._bucket}/d"),
        peer(
            "pg_dump -Fc -f file; aws s3 cp",
            lambda: f"pg_dump -Fc -f d {db}; aws s3 cp --quiet d s3://{bench._bucket}/d",
        ),
        peer(
            "script: pg_dump > f; gzip f; sha256sum; aws s3 cp",
            lambda: (
                f"pg_dump {db} > f; gzip f; sha256sum f.gz > f.sum; aws s3 cp --quiet f.gz s3://{bench._bucket}/f.gz"
            ),
        ),
    ]
    names = [one.name for one in contestants]
    pipe, estimate, _counts, both, _ansible, _zstd_rcat, restic, rcat, upload, script = names
    return Contest(
        key,
        title,
        contestants,
        [
            Aim(f"≤ {limit} × pipe", estimate, limit, pipe),
            Aim("≤ 0.30 × the script way", estimate, 0.30, script),
            Aim("faster than restic from stdin", estimate, 1.0, restic),
            Aim("faster than pg_dump -Fc and upload", estimate, 1.0, upload),
            Aim("faster than pg_dump -Fc | rclone rcat", estimate, 1.0, rcat),
            Aim("SeaweedFS and local ≤ 1.25 × SeaweedFS alone", both, 1.25, estimate),
            Aim("peak memory ≤ 200 MB", both, 200, of="peak"),
        ],
    )


def _directory(stand: Stand) -> Contest:
    bench = _Bench(stand, stand.realistic)
    peer, ours = "pg_dump -Fd -Z1 -j2 (uploads nothing)", "holdfast, format directory, jobs 2 → SeaweedFS"
    return Contest(
        "directory",
        "Parallel backup of Q",
        [
            Contestant(
                peer, bench.tools(lambda: f"pg_dump -Fd -Z1 -j2 -f d {bench.database}"), bench.prepare, bench.clean
            ),
            Contestant(
                ours, bench.backup("s3", format="directory", jobs=2, fingerprint="estimate"), bench.prepare, bench.clean
            ),
        ],
        [Aim("≤ 1.10 × pg_dump -Fd -Z1 -j2", ours, 1.10, peer)],
    )


def _restore(stand: Stand, database: str, key: str, title: str) -> Contest:
    """Both ways restore into an empty server's new database; the dump lies ready."""
    bench = _Bench(stand, database)
    bench.prepare()
    bucket, work = bench._bucket, bench._work
    repository = stand.s3(bucket)
    bench.backup("s3", fingerprint="counts")()
    dump = work / "dump.zst"
    shell(f"pg_dump -Fc -Z0 {database} | zstd -q -T0 -1 > {dump}", env=stand.postgres.env)
    target = f"{database}_back"

    def empty() -> None:
        stand.postgres.drop_database(target)

    def by_hand() -> Sample:
        stand.postgres.create_database(target)
        return shell(f"zstd -dc {dump} | pg_restore --exit-on-error -d {target}", stand.servers, stand.postgres.env)

    def ours() -> Sample:
        sample = verb(bench.task("restore", [repository], target_database=target), stand.servers)
        after = sum(sample.facts["seconds"].get(stage, 0.0) for stage in AFTER_RESTORE)
        return replace(sample, wall=sample.wall - after, facts={**sample.facts, "whole": sample.wall})

    peer, mine = "zstd -dc file | pg_restore", "holdfast from SeaweedFS, until pg_restore ends"
    return Contest(
        key,
        title,
        [Contestant(peer, by_hand, empty, empty), Contestant(mine, ours, empty, empty)],
        [
            Aim("≤ 1.10 × zstd -dc file | pg_restore", mine, 1.10, peer),
            Aim("peak memory ≤ 200 MB", mine, 200, of="peak"),
        ],
    )


def contests(stand: Stand) -> dict[str, Callable[[], Contest]]:
    """The groups by name, each made when its turn comes."""
    return {
        "pgbench": lambda: _streamed(stand, "pgbench", stand.pgbench, "Streamed backup of P (pgbench)", 1.15, None),
        "realistic": lambda: _streamed(
            stand, "realistic", stand.realistic, "Streamed backup of Q (realistic rows)", 1.25, 1
        ),
        "directory": lambda: _directory(stand),
        "restore-pgbench": lambda: _restore(stand, stand.pgbench, "restore-pgbench", "Restore of P"),
        "restore-realistic": lambda: _restore(stand, stand.realistic, "restore-realistic", "Restore of Q"),
    }
