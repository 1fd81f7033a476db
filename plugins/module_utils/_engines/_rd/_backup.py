# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backup of a Redis or Valkey server: preflight, then one RDB that is read while it passes.

PRIVATE to the collection; may change without notice.

Artefacts: `dump` (the RDB as a replica gets it) and `fingerprint`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from ..._durations import format_size
from ..._errors import HoldfastError, InvalidOption, Unavailable
from ..._manifest import Artefact, utc_now
from ..._stream._source import CHUNK
from ..._stream._write import Stream
from .._by_hand import decoded
from .._interface import BackupPlan, BackupRun
from ._client import Refusal
from ._faults import refusal
from ._rdb import Contents, Scanner
from ._server import Server, State, place_key

SCHEMA = 1
LEVELS = ("none", "estimate", "counts", "digest")

OPTIONS: Mapping[str, Any] = {
    "fingerprint": {"type": "str", "choices": list(LEVELS), "default": "counts"},
    "stall_timeout": {"type": "int", "default": 1800},
}
"""Options of a backup only."""


class BackupJob:
    """One backup of one server."""

    def __init__(self, server: Server, options: Mapping[str, Any]) -> None:
        self._server = server
        self._options = options
        chosen = {name: options.get(name, spec.get("default")) for name, spec in OPTIONS.items()}
        self._level = str(chosen["fingerprint"])
        self._silence = float(chosen["stall_timeout"] or 0) or None
        if (self._silence or 0) < 0:
            raise InvalidOption("stall_timeout is negative.", stage="preflight")

    def plan(self) -> BackupPlan:
        """Everything that can be known to fail fails here."""
        server = self._server
        state = server.state()
        warnings = _check_replica(state, server.where)
        warnings += self._check_rights()
        if state.info.get("rdb_last_bgsave_status") == "err":
            warnings.append("The server's last save to its own disk failed; look at its log.")
        kind = "replica" if state.role == "slave" else "primary"
        counted = f"{state.total} keys in {len(state.keys)} databases, {format_size(state.used_memory)} in memory"
        summary = (
            f"{state.name} {state.version} at {server.where} ({kind}): {counted}",
            f"one RDB, as a replica gets it; fingerprint: {self._level}",
        )
        identity = {**place_key(self._options), "fingerprint": self._level}
        return BackupPlan(_expected(state), summary, identity, tuple(warnings))

    def _check_rights(self) -> list[str]:
        """What of the rights can be told without using them; what is unproven, in sentences.

        Raises:
            PermissionDenied: one is missing.
        """
        server = self._server
        server.command("REPLCONF", "capa", "eof", stage="preflight")
        try:
            user = str(server.ask("ACL", "WHOAMI"))
            said = str(server.ask("ACL", "DRYRUN", user, "SYNC"))
        except Refusal as error:  # before Redis 7, or not allowed to ask
            unproven = "Whether the user may dump (+sync) is unproven: it may not ask (+acl|whoami +acl|dryrun)."
            return [unproven] if str(error).startswith("NOPERM") else []
        if said != "OK":
            raise refusal(f"NOPERM {said}", server.where, stage="preflight")
        return []

    def run(self, run: BackupRun) -> None:
        """Dump, and keep what the dump says of itself."""
        state = self._server.state()
        begun = utc_now()
        reading = self._level in ("counts", "digest")
        scanner = Scanner(every_value=self._level == "digest", frame_only=not reading)
        source = DumpSource(self._server, scanner, self._silence)
        artefact = run.store(Stream("dump.rdb", "dump", source))
        contents = source.contents
        run.snapshot_taken(_moment(contents, begun))
        level = self._level
        if reading and contents.unknown is not None:
            run.warn(
                f"The dump holds {contents.unknown}, which this holdfast cannot read: it is saved without a "
                "fingerprint, so a restore of it cannot be proved."
            )
            level = "none"
        if level == "estimate":
            run.fingerprint(
                level, {"schema": SCHEMA, "level": level, "keys": {str(n): k for n, k in state.keys.items()}}
            )
        elif level != "none":
            run.fingerprint(level, {"schema": SCHEMA, "level": level, **contents.as_json()})
        modules = sorted(contents.modules)
        if modules:
            run.warn(f"Values of the modules {', '.join(modules)} are counted, and not compared by content.")
        run.facts(self._facts(state, contents, modules))
        run.report({"keys": contents.keys if level in ("counts", "digest") else state.total})
        run.by_hand(by_hand(artefact, state))

    def _facts(self, state: State, contents: Contents, modules: list[str]) -> dict[str, Any]:
        databases = self._server.known_config("databases").get("databases")
        return {
            "product": state.product,
            "server_version": state.version,
            "rdb_product": contents.product,
            "rdb_version": contents.version,
            "role": state.role,
            "used_memory": state.used_memory,
            "databases": int(databases) if databases else max((16, *(number + 1 for number in state.keys))),
            "modules": modules,
        }


class DumpSource:
    """The dump as a `Source`, read by a scanner while it passes.

    It ends without an exception only when the server has sent all of it, which the scanner sees for itself.

    Attributes:
        contents: what was read, once it has ended.
    """

    def __init__(self, server: Server, scanner: Scanner, silence: float | None) -> None:
        self._server = server
        self._scanner = scanner
        self._silence = silence
        self.contents = scanner.contents

    def chunks(self) -> Iterator[bytes]:
        waiting: list[bytes] = []
        size = 0
        for piece in self._server.dump(self._silence):
            waiting.append(piece)
            size += len(piece)
            if size >= CHUNK:
                yield self._pass(b"".join(waiting))
                waiting, size = [], 0
        if waiting:
            yield self._pass(b"".join(waiting))
        try:
            self.contents = self._scanner.close()
        except HoldfastError as error:
            raise error.at("dump") from None

    def _pass(self, piece: bytes) -> bytes:
        try:
            self._scanner.feed(piece)
        except HoldfastError as error:
            raise error.at("dump") from None
        return piece

    def abort(self) -> None:
        self._server.abort()


def _check_replica(state: State, where: str) -> list[str]:
    """What a replica's backup is worth.

    Raises:
        Unavailable: it has lost its primary, so that its data is of nobody knows when.
    """
    if state.role != "slave":
        return []
    if state.info.get("master_link_status") != "up":
        raise Unavailable(
            f"The server at {where} is a replica that has lost its primary.",
            stage="preflight",
            hint="Back up the primary, or wait until the replica has caught up.",
        )
    return ["The server is a replica: what its primary has not sent yet is not in the backup."]


def _expected(state: State) -> int:
    """Bytes of the dump, about: what the data takes in memory, at most."""
    dataset = state.info.get("used_memory_dataset", "")
    return int(dataset) if dataset.isdigit() else state.used_memory


def _moment(contents: Contents, begun: datetime) -> datetime:
    """The moment of the dump: the server may have begun it before we asked, and says when."""
    with suppress(KeyError, ValueError, OverflowError, OSError):
        said = datetime.fromtimestamp(int(contents.auxiliary["ctime"]), tz=timezone.utc)
        if abs((begun - said).total_seconds()) < _BELIEVABLE:
            return min(begun, said)
    return begun


_BELIEVABLE = 6 * 3600.0
"""Seconds that a dump may have been in the making; beyond them the server's clock is not ours."""


def by_hand(artefact: Artefact, state: State) -> list[str]:
    """The shell lines that restore the dump with standard tools."""
    key = ["KEY=/path/to/the/age/identity"] if artefact.encryption == "age" else []
    return [
        "# In the directory of the artefacts:",
        "sha256sum -c SHA256SUMS",
        *key,
        f"{decoded(artefact)} > dump.rdb",
        f"{'valkey' if state.product == 'valkey' else 'redis'}-check-rdb dump.rdb",
        "# Stop the server. An append-only file wins over the RDB: move appendonlydir (or appendonly.aof) away.",
        "# Put dump.rdb into its directory (CONFIG GET dir), owned by the server's user; start it with appendonly no.",
        "# Where it was on: CONFIG SET appendonly yes, wait until INFO persistence says aof_rewrite_in_progress:0,",
        "# then CONFIG REWRITE.",
    ]
