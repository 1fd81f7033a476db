# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File trees: large files by content, small ones in packs, an index of all, proved by hash.

PRIVATE to the collection; may change without notice. The format is public: docs/file-trees.md.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

from .._durations import counted
from .._errors import DiskFull, HoldfastError, InvalidOption, NotProved, Unsupported
from ._interface import BackupPlan, BackupRun, Engine, Place, Proof, RestorePlan, RestoreRun
from ._tree._backup import TreeBackup, refuse_unreadable
from ._tree._cache import Summary, TreeCache
from ._tree._contents import StoredTree, check_contents
from ._tree._patterns import Patterns
from ._tree._restore import IF_DIFFERENT, KEEP, REPLACE, RestorePreview, TreeRestore
from ._tree._scan import Root, Troubles
from ._tree._survey import Survey, TreeSettings, survey

BY_HAND = (
    "# The index (one JSON line per entry) is the blob that source.index names; its objects are in the references.",
    "# A pack is a tar archive: decode it, then: tar --extract --numeric-owner --preserve-permissions",
    "# Any other blob is the content of a file: decode it, and give it the name that the index says.",
    "# docs/file-trees.md has the few lines of Python that do all of this.",
)

_WORDS = {
    "changed": "changed while they were read, {tries} times; they are stored as they were last read",
    "vanished": "vanished before they could be read",
    "unreadable": "cannot be read and were left out (ignore_unreadable)",
    "sockets": "are sockets and were left out",
}


class FilesEngine(Engine):
    """A directory with all that is in it, or a single file."""

    name = "files"
    OPTIONS: ClassVar[Mapping[str, Any]] = {
        "path": {"type": "path", "required": True},
    }
    BACKUP_OPTIONS: ClassVar[Mapping[str, Any]] = {
        "exclude": {"type": "list", "elements": "str", "default": []},
        "one_file_system": {"type": "bool", "default": False},
        "ignore_unreadable": {"type": "bool", "default": False},
        "rehash": {"type": "bool", "default": False},
    }
    RESTORE_OPTIONS: ClassVar[Mapping[str, Any]] = {
        "target": {"type": "path"},
        "include": {"type": "list", "elements": "str", "default": []},
        "existing": {"type": "str", "choices": [IF_DIFFERENT, KEEP, REPLACE], "default": IF_DIFFERENT},
    }

    def __init__(self, options: Mapping[str, Any], place: Place) -> None:
        super().__init__(options, place)
        self._closing = contextlib.ExitStack()
        self._root: Root | None = None
        self._settings: TreeSettings | None = None
        self._cache: TreeCache | None = None
        self._survey: Survey | None = None
        self._restore: TreeRestore | None = None

    def close(self) -> None:
        self._closing.close()

    # Backup.

    def plan_backup(self) -> BackupPlan:
        _check_encoding()
        settings = self._settings = self._tree_settings()
        if self._root is None:
            self._root = Root(settings.path)
            self._closing.callback(self._root.close)
        self._cache = TreeCache.open(settings.cache)
        if self._cache is not None:
            self._closing.callback(self._cache.close)
        found = self._survey = survey(self._root, settings, self._cache)
        if not settings.ignore_unreadable:
            refuse_unreadable(found.troubles, "preflight")
        summary = (
            f"{settings.path}: {counted(found.entries, 'entry', 'entries')}, {counted(found.size, 'byte')}",
            f"to read: {counted(found.new_entries, 'file')}, {counted(found.new_size, 'byte')}",
        )
        return BackupPlan(found.size, summary, {"selection": _selection(settings)}, unsent_bytes=found.new_size)

    def _tree_settings(self) -> TreeSettings:
        path = self.options.get("path") or ""
        if not os.path.isabs(path):
            raise InvalidOption("path must be absolute.", stage="preflight")
        return TreeSettings(
            path=os.path.normpath(path),
            patterns=Patterns(self.options.get("exclude") or ()),
            one_file_system=bool(self.options.get("one_file_system")),
            ignore_unreadable=bool(self.options.get("ignore_unreadable")),
            rehash=bool(self.options.get("rehash")),
            cache=os.path.join(self.place.state_dir, "tree.cache"),
        )

    def backup(self, run: BackupRun) -> None:
        if self._root is None or self._settings is None or self._survey is None:
            raise AssertionError("nothing was planned")
        run.progress.stage("dump", self._survey.new_size or None)
        work = TreeBackup(run, self._root, self._settings, self._cache, self._survey)
        try:
            summary = work.execute()
        except OSError as error:
            raise _local_error(error, self.place.state_dir) from error
        _tell(run, work.troubles)
        run.report({"entries": summary.entries, "tree_bytes": summary.size, "read_bytes": work.read})
        run.facts({"index": summary.index, "entries": summary.entries, "bytes": summary.size})
        run.fingerprint("digest", _fingerprint(summary))
        run.by_hand(BY_HAND)

    # Restore.

    def plan_restore(self, run: RestoreRun) -> RestorePlan:
        _check_encoding()
        work = self._restore = self._open_restore(run, self.options.get("target") or self.options["path"])
        found = work.preview()
        live = work.path if found.replaced else None
        changes = bool(found.new or found.replaced or found.adjusted)
        return RestorePlan(_describe(work.path, found), changes, live)

    def _open_restore(self, run: RestoreRun, path: str) -> TreeRestore:
        if not os.path.isabs(path):
            raise InvalidOption("path and target must be absolute.", stage="preflight")
        tree = self._closing.enter_context(contextlib.closing(StoredTree(run)))
        existing = self.options.get("existing") or IF_DIFFERENT
        return TreeRestore(run, tree, path, self.options.get("include") or (), existing)

    def safety_options(self) -> Mapping[str, Any]:
        """What a restore replaces is what is in its place, excluded files as well."""
        return {"path": self._restore.path} if self._restore is not None else {}

    def restore(self, run: RestoreRun) -> Proof:
        if self._restore is None:
            raise AssertionError("self._restore is None")
        proof = self._restore.execute()
        for what, why in proof.details["not_set"].items():
            run.warn(f"{what} could not be set on some entries: {why}.")
        if proof.differences:
            different, place = int(proof.details["different"]), self._restore.path
            raise NotProved(
                f"{counted(different, f'entry of {place} is', f'entries of {place} are')} not as in the backup: "
                f"{'; '.join(proof.differences[:5])}.",
                stage="proof",
                hint="Another program may be writing there: declare it in services, or restore elsewhere (target).",
            )
        return proof

    def verify_archive(self, run: RestoreRun) -> Mapping[str, Any]:
        with contextlib.closing(StoredTree(run)) as tree:
            return check_contents(tree)

    def verify_restore(self, run: RestoreRun) -> Proof:
        with contextlib.closing(StoredTree(run)) as tree, run.scratch() as scratch:
            work = TreeRestore(run, tree, os.path.join(scratch, "tree"), (), REPLACE)
            work.preview()
            return work.execute()


def _check_encoding() -> None:
    if sys.getfilesystemencoding().lower() not in ("utf-8", "utf8"):
        raise Unsupported(
            f"Python treats file names as {sys.getfilesystemencoding()} here; the index needs UTF-8.",
            stage="preflight",
            hint="Set environment: {PYTHONUTF8: '1'} for the task.",
        )


def _selection(settings: TreeSettings) -> str:
    """Equal for backups of the same files; says nothing of their names, for the manifest is not encrypted."""
    text = repr((settings.path, settings.patterns.lines, settings.one_file_system, settings.ignore_unreadable))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _fingerprint(summary: Summary) -> dict[str, Any]:
    return {
        "index_sha256": summary.index_sha256,
        "index_size": summary.index_size,
        "entries": summary.entries,
        "bytes": summary.size,
    }


def _tell(run: BackupRun, troubles: Troubles) -> None:
    """Counts for everybody, names only for the user who runs this: the manifest is not encrypted."""
    for kind, count in sorted(troubles.counts.items()):
        words = _WORDS[kind].format(tries=3)
        run.warn(f"{count} {'entry' if count == 1 else 'entries'} {words}.")
    run.report({kind: list(paths) for kind, paths in troubles.paths.items()})


def _describe(path: str, found: RestorePreview) -> tuple[str, ...]:
    return (
        f"{path}: {found.new} new, {found.replaced} replaced, {found.kept} kept, {found.same} as they are",
        f"to write: {found.size} bytes",
    )


def _local_error(error: OSError, state_dir: str) -> HoldfastError:
    """What the operating system said about our own files."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"There is no more room in {state_dir}.", hint="Make room, or set another state_dir.")
    return HoldfastError(f"{state_dir}: {error.strerror or error}.")
