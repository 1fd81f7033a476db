# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `model_files`: large files are there, and are what they should be.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._durations import format_size
from ..._errors import InvalidOption
from ..._locks import private_directory
from ..._spec import Spec
from .._interface import FAIL, PASS, WARN, Kind, Measurement

_CHUNK = 1 << 22
_CACHE = "model_files.json"
_SUM = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<path>.+)")
_RESERVE = 0.5
"""Seconds before the end at which a file that would be read is left for the next run."""


class ModelFilesCheck(Kind):
    """A file is read once; after that size, time of change and inode say that it is still the same."""

    name = "model_files"
    SPEC = Spec(
        {
            "directory": {"type": "path"},
            "sha256sums": {"type": "path"},
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "size": {"type": "bytes"},
                    "sha256": {"type": "str"},
                },
            },
        }
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        if not options["files"] and not options.get("sha256sums"):
            report.add("files or sha256sums is required")
        for number, each in enumerate(options["files"]):
            if each and each.get("sha256") is not None and not re.fullmatch("[0-9a-f]{64}", each["sha256"]):
                report.key("files").index(number).key("sha256").add("must be 64 hexadecimal digits in lower case")
            if each and not os.path.isabs(each.get("path", "/")) and not options.get("directory"):
                report.key("files").index(number).key("path").add("must be absolute, or directory be given")

    def run(self, deadline: Deadline) -> Iterator[Measurement]:
        wanted = self._wanted()
        known = _Hashes(self.state_dir)
        for path, size, digest in wanted:
            yield self._file(path, size, digest, known, deadline)

    def _wanted(self) -> list[tuple[str, int | None, str | None]]:
        from ..._durations import parse_size

        directory = self.options.get("directory") or ""
        wanted: list[tuple[str, int | None, str | None]] = []
        for each in self.options["files"]:
            size = each.get("size")
            path = os.path.join(directory, each["path"])
            wanted.append((path, None if size is None else parse_size(str(size)), each.get("sha256")))
        sums = self.options.get("sha256sums")
        if sums:
            with open(sums, encoding="utf-8") as stream:
                lines = stream.read().splitlines()
            below = directory or os.path.dirname(sums)
            for number, line in enumerate(lines, 1):
                match = _SUM.fullmatch(line)
                if match is None:
                    raise InvalidOption(f"Line {number} of {sums} is none of sha256sum.")
                wanted.append((os.path.join(below, match["path"]), None, match["digest"]))
        return wanted

    def _file(self, path: str, size: int | None, digest: str | None, known: _Hashes, deadline: Deadline) -> Measurement:
        def bad(output: str, status: str = FAIL) -> Measurement:
            return Measurement("file", status, None, "B", output, path)

        try:
            found = os.stat(path)
        except OSError as error:
            return bad(f"{path}: {error.strerror}.")
        if not stat.S_ISREG(found.st_mode):
            return bad(f"{path} is no regular file.")
        if size is not None and found.st_size != size:
            return bad(f"{path} has {format_size(found.st_size)} ({found.st_size} bytes) and not {size} bytes.")
        if digest is not None:
            actual = known.get(path, found)
            if actual is None:
                actual = _hash(path, deadline)
                if actual is None:
                    return bad(f"{path} could not be read to its end within the timeout.", WARN)
                known.put(path, found, actual)
            if actual != digest:
                return bad(f"{path} is not the file that it should be (SHA-256).")
        return Measurement("file", PASS, found.st_size, "B", "", path)


def _hash(path: str, deadline: Deadline) -> str | None:
    """The SHA-256 of a file; None when there is no time for it."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        position = 0
        while True:
            if deadline.left() < _RESERVE:
                return None
            data = stream.read(_CHUNK)
            if not data:
                return digest.hexdigest()
            digest.update(data)
            # Read once: it need not push what the applications use out of the memory.
            os.posix_fadvise(stream.fileno(), position, len(data), os.POSIX_FADV_DONTNEED)
            position += len(data)


class _Hashes:
    """What files were hashed to, by what tells that they have not changed since."""

    def __init__(self, state_dir: str) -> None:
        self._path = os.path.join(state_dir, _CACHE) if state_dir else ""
        self._known: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            if self._path:
                with open(self._path, encoding="utf-8") as stream:
                    self._known = dict(json.load(stream))

    @staticmethod
    def _identity(found: os.stat_result) -> list[int]:
        return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]

    def get(self, path: str, found: os.stat_result) -> str | None:
        kept = self._known.get(path)
        if not isinstance(kept, dict) or kept.get("identity") != self._identity(found):
            return None
        return str(kept["sha256"])

    def put(self, path: str, found: os.stat_result, digest: str) -> None:
        """Keep it at once: the next file may be too much for this run. Two checks may lose each other's: read again."""
        if not self._path:
            return
        self._known[path] = {"identity": self._identity(found), "sha256": digest}
        private_directory(os.path.dirname(self._path))
        temporary = f"{self._path}.{os.getpid()}"
        with open(temporary, "w", encoding="utf-8") as stream:
            json.dump(self._known, stream)
        os.replace(temporary, self._path)
