# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where and as whom an application's own programs run: git, its package managers, its process manager.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Callable

from ..._errors import InvalidOption, NotFound, PermissionDenied, Refused, ToolFailed, redact
from ..._process import Process, account

DIRECTORY, TIMEOUT = ".", 60.0

RUN_VARIABLE = "HOLDFAST_UPDATE"
"""In the environment of everything that an update starts: by it the next run finds what a killed one has left."""

_OUTPUT = 4 << 20
"""Bytes of a program's output that are kept, of its end."""


@dataclass(frozen=True)
class Step:
    """A command of the application, as an argument list.

    Attributes:
        directory: relative to the checkout.
        timeout: seconds.
    """

    command: tuple[str, ...]
    directory: str = DIRECTORY
    timeout: float = TIMEOUT

    @property
    def shown(self) -> str:
        """As a person would write it."""
        words = " ".join(self.command)
        return words if len(words) <= 80 else f"{words[:77]}..."


@dataclass(frozen=True)
class Workplace:
    """The directory of an application, and whose programs work in it.

    Attributes:
        directory: without symbolic links.
        run_as: the user's name.
        owner: the user that the directory belongs to, as a number.
        umask: three octal digits. A job's own would make files that only their owner reads, the web server not.
        environment: of the application's commands.
        secrets: values in it that no message may repeat.
    """

    directory: str
    run_as: str
    owner: int
    umask: str = "022"
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stage: str,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        secrets: Iterable[str | None] = (),
        started: Callable[[int], None] | None = None,
        check: bool = True,
    ) -> tuple[int, str, str]:
        """Run a program to its end: exit code, (the end of) its output, its redacted errors.

        It and what it starts end when we are killed.

        Args:
            timeout: seconds.
            env: added to the clean environment.
            started: told the number of its process group.

        Raises:
            ToolFailed: it exited with another status than 0 (with `check`), or took too long.
        """
        name = os.path.basename(argv[0])
        hidden = [*self.secrets, *secrets]
        try:
            process = Process(
                ["/bin/sh", "-c", 'umask "$0" && exec "$@"', self.umask, *argv],
                env=env,
                run_as=account(self.run_as),
                cwd=cwd or self.directory,
                pass_fds=pass_fds,
                secrets=hidden,
                dies_with_us=True,
            )
        except FileNotFoundError:
            raise NotFound(f"The directory {cwd or self.directory} does not exist.", stage=stage) from None
        except PermissionError:
            raise PermissionDenied(f"{cwd or self.directory} may not be entered.", stage=stage) from None
        if process.popen.stdout is None:
            raise AssertionError("process.popen.stdout is None")
        said = _Tail(process.popen.stdout)
        try:
            if started:
                started(process.popen.pid)
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.terminate()
            late = f"{name} did not end within {timeout:g} s and was stopped."
            raise ToolFailed(late, stage=stage, tool_output=_words(said.text(), process.stderr, hidden)) from None
        except BaseException:
            process.terminate()
            raise
        out = said.text()
        if check and code != 0:
            how = f"exited with status {code}" if code > 0 else f"was killed by signal {-code}"
            raise ToolFailed(f"{name} {how}.", stage=stage, tool_output=_words(out, process.stderr, hidden))
        return code, out, process.stderr

    def perform(self, step: Step, stage: str, run: str, started: Callable[[int], None] | None = None) -> None:
        """Run one of the application's own commands.

        Args:
            run: which update this belongs to.

        Raises:
            ToolFailed: it failed; with what it said.
        """
        env = {**self.environment, RUN_VARIABLE: run}
        place = os.path.join(self.directory, step.directory)
        self.run(step.command, timeout=step.timeout, stage=stage, cwd=place, env=env, started=started)


class _Tail:
    """Reads a pipe to its end in a thread, and keeps what came last: a full pipe would stop the program."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._read, name="output", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed by who ends the program
            while True:
                chunk = os.read(self._pipe.fileno(), 1 << 16)
                if not chunk:
                    return
                self._kept += chunk
                del self._kept[:-_OUTPUT]

    def text(self) -> str:
        """What was said until the program ended; something that it has left running may hold the pipe open."""
        self._thread.join(2)
        return bytes(self._kept).decode("utf-8", "replace")


def _words(out: str, errors: str, secrets: Iterable[str | None]) -> str:
    """Why it failed stands in the errors, with some tools in the output."""
    tail = redact(out[-2000:], secrets).strip()
    return "\n".join(part for part in (tail, errors.strip()) if part)


def workplace(
    directory: str,
    run_as: str | None,
    umask: str = "022",
    environment: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
) -> Workplace:
    """The workplace of an application.

    Args:
        run_as: None for the user that the directory belongs to.

    Raises:
        NotFound: there is no such directory.
        InvalidOption: there is no such user, or we may not become that one.
        Refused: root would work in what belongs to somebody else.
    """
    place = os.path.realpath(directory)
    if not os.path.isdir(place):
        raise NotFound(f"The directory {directory} does not exist.", stage="preflight")
    owner = os.stat(place).st_uid
    name = run_as or _name_of(owner, place)
    account(name)
    try:
        uid = pwd.getpwnam(name).pw_uid
    except KeyError:  # the user that we are, without an entry
        uid = os.geteuid()
    if uid == 0:
        _refuse_foreign(place)
    return Workplace(place, name, owner, umask, dict(environment or {}), tuple(secrets))


def _name_of(uid: int, place: str) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise InvalidOption(
            f"{place} belongs to user {uid}, whom this host does not know.",
            stage="preflight",
            hint="Give it to the application's user (chown), or set run_as.",
        ) from None


def _refuse_foreign(place: str) -> None:
    """A checkout says by its hooks and settings what git starts: as root, only where root alone has written.

    That is all of `.git`, and every directory on the way: who may write in one of those puts another checkout in place.
    """
    above = place
    while above != os.path.dirname(above):
        above = os.path.dirname(above)
        _refuse_writable(place, above, above=True)
    repository = os.path.join(place, ".git")
    for path in (place, repository):
        _refuse_writable(place, path)
    for directory, directories, files in os.walk(repository):
        for name in (*directories, *files):
            _refuse_writable(place, os.path.join(directory, name))


def _refuse_writable(place: str, path: str, *, above: bool = False) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    # A link, or the file in place of .git, would lead to where somebody else may write.
    elsewhere = not (stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and os.path.basename(path) != ".git"))
    # In a sticky directory nobody can move what is root's.
    shared = bool(stat.S_IMODE(found.st_mode) & 0o022) and not (above and found.st_mode & stat.S_ISVTX)
    if elsewhere or found.st_uid != 0 or shared:
        raise Refused(
            f"root would run git in {place}, and {'a link stands at' if elsewhere else 'others than root may write'}"
            f" {path}: hooks and settings of somebody else would run as root.",
            stage="preflight",
            hint="Let the checkout belong to the application's user, and leave run_as away or name that user.",
        )
