# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an update writes down before it touches a checkout, so that the next run knows what a killed one was doing.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..._errors import Corrupted
from ..._locks import private_directory, state_directory
from ..._replace import replace_file
from ._checkout import Head, Target
from ._workplace import RUN_VARIABLE

_FORMAT = 1


@dataclass(frozen=True)
class Marker:
    """An update that has begun and not ended.

    Attributes:
        run: its number, which is in the environment of all that it starts.
        started: RFC 3339.
        before: where the checkout stood.
        target: what is installed.
        branch_before: where the branch of the target was, when it is not the one that was checked out.
        well: whether the application was, before.
        stage: what it was doing.
        group: the process group of the command that runs, 0 for none.
    """

    run: str
    directory: str
    started: str
    before: Head
    target: Target
    branch_before: str | None
    well: bool
    stage: str = "checkout"
    group: int = 0


class Markers:
    """The marker of one directory, on disk.

    Args:
        state_dir: as the modules' option.
        directory: of the application, without symbolic links.

    Attributes:
        path: of its file.
    """

    def __init__(self, state_dir: str, directory: str) -> None:
        self.key = application_key(directory)
        self._state_dir = state_dir
        self.path = os.path.join(state_dir, "maintenance", "application_update", f"{self.key}.json")

    def read(self) -> Marker | None:
        """The marker that a run has left.

        Raises:
            Corrupted: there is one, and nobody can read it.
        """
        try:
            with open(self.path, encoding="utf-8") as stream:
                values: dict[str, Any] = json.load(stream)
            if values.pop("format") != _FORMAT:
                raise ValueError("format")
            return Marker(**{**values, "before": Head(**values["before"]), "target": Target(**values["target"])})
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise Corrupted(
                f"{self.path}, which an update has left, cannot be read.",
                stage="preflight",
                hint="Look at the checkout; when it is as it should be, remove that file.",
            ) from None

    def write(self, marker: Marker) -> None:
        """Write it durably."""
        private_directory(os.path.dirname(os.path.join(state_directory(self._state_dir), self.path)))
        replace_file(self.path, json.dumps({"format": _FORMAT, **asdict(marker)}), 0o600)

    def at(self, marker: Marker, stage: str, group: int = 0) -> None:
        """Note what the update does now; where that cannot be written, what stands there still says what is undone."""
        # A disk that an installation has filled must not keep it from being rolled back.
        with contextlib.suppress(OSError):
            self.write(replace(marker, stage=stage, group=group))

    def remove(self) -> None:
        """It has ended."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


def application_key(directory: str) -> str:
    """A name for an application's lock and marker."""
    tail = "".join(letter if letter.isalnum() else "_" for letter in os.path.basename(directory))[:40]
    return f"{tail}-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]}"


def end_leftovers(marker: Marker) -> int:
    """Kill what a killed update was running and could not end: how many processes that were.

    Only what is in the process group of its last command and carries its number: daemons have a group of their own.
    """
    if not marker.group:
        return 0
    ended = 0
    wanted = f"{RUN_VARIABLE}={marker.run}".encode()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/environ", "rb") as stream:
                ours = wanted in stream.read().split(b"\0")
            if ours and os.getpgid(int(name)) == marker.group:
                os.kill(int(name), signal.SIGKILL)
                ended += 1
    return ended
