# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Child processes: argv lists, a clean environment, dropped rights, and every exit code looked at.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pwd
import select
import shutil
import signal
import stat
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Callable

from ._errors import InvalidOption, MissingDependency, Refused, ToolFailed, redact

STDERR_TAIL = 16 * 1024
"""Bytes of a tool's stderr that are kept of its end."""

STDERR_HEAD = 4 * 1024
"""Bytes of a tool's stderr that are kept of its beginning, when it says more than both."""

PIPE_SIZE = 1024 * 1024
"""Bytes asked for each pipe (the kernel's unprivileged maximum): fewer wake-ups per byte."""

F_SETPIPE_SZ = 1031  # fcntl.F_SETPIPE_SZ exists only from Python 3.10 on
PR_SET_PDEATHSIG = 1
TERMINATION_GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL."""


@dataclass(frozen=True)
class Account:
    """The user that a child process runs as."""

    name: str
    uid: int
    gid: int
    home: str
    groups: tuple[int, ...] = field(default=())


def account(name: str | None) -> Account | None:
    """Look a user up; `None` when the child shall run as we do (no name, or we are that user)."""
    if not name:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise InvalidOption(f"The user {name!r} (run_as) does not exist on this host.", stage="preflight") from None
    if entry.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise InvalidOption(
            f"Only root can run tools as {name!r} (run_as); this runs as uid {os.geteuid()}.",
            stage="preflight",
            hint="Use become, or leave run_as away.",
        )
    return Account(name, entry.pw_uid, entry.pw_gid, entry.pw_dir, tuple(os.getgrouplist(name, entry.pw_gid)))


def hand_over(path: str, owner: Account) -> None:
    """Give a file that we have made, or a directory with the files in it, to an account.

    Who owns the directory that it lies in could have put something else in its place meanwhile.

    Raises:
        Refused: it is not what we have made.
    """
    descriptor = open_owned(path, os.geteuid())
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):  # ours still, so that nobody changes what is in it
            for name in os.listdir(descriptor):
                os.chown(name, owner.uid, owner.gid, dir_fd=descriptor, follow_symlinks=False)
        os.fchown(descriptor, owner.uid, owner.gid)
    finally:
        os.close(descriptor)


def open_owned(path: str, uid: int | None, flags: int = os.O_RDONLY, *, dir_fd: int | None = None) -> int:
    """Open what must be a directory or a regular file of the user `uid`, in a place where that user may write.

    Never through a symbolic link, nor a file that has a second name: what it led to could be anybody's.

    Args:
        uid: None where nobody but us may write; some network file systems show other owners than there are.

    Raises:
        Refused: it is something else.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):  # a link, a file, or a pipe or socket in its place
            raise _not_expected(path) from None
        raise
    try:
        found = os.fstat(descriptor)
        regular = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        if (uid is not None and found.st_uid != uid) or not (regular or stat.S_ISDIR(found.st_mode)):
            raise _not_expected(path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _not_expected(path: str) -> Refused:
    return Refused(
        f"{path} is not what holdfast or its tool has put there: a link, or somebody else's.",
        hint="Find out who replaced it: only the user that the tools run as (run_as) can write there.",
    )


def find_program(name: str, directories: Iterable[str] = (), *, package: str | None = None) -> str:
    """The absolute path of a program, looked for in `directories` first, then in PATH."""
    search = os.pathsep.join([*directories, os.environ.get("PATH", os.defpath)])
    found = shutil.which(name, path=search)
    if found is None:
        hint = f"Install the package {package}." if package else None
        raise MissingDependency(f"The program {name} was not found on this host.", stage="preflight", hint=hint)
    return found


def clean_environment(extra: Mapping[str, str] | None = None, run_as: Account | None = None) -> dict[str, str]:
    """What a tool needs of our environment and nothing else; messages in English, times in UTC."""
    environment = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "USER")}
    environment.setdefault("PATH", os.defpath)
    if run_as is not None:
        environment.update(HOME=run_as.home, USER=run_as.name)
    environment.update(LC_ALL="C.UTF-8", TZ="UTC", PGTZ="UTC")
    environment.update(extra or {})
    return environment


class Process:
    """A running tool whose stderr is drained (a full stderr pipe would stop it) and whose exit code is checked.

    Args:
        argv: the program and its arguments. Never a secret among them.
        env: added to the clean environment. Never a secret: other processes of the same user can read it.
        run_as: drop to this account.
        stdin, stdout: as in `subprocess.Popen`.
        secrets: strings to take out of the tool's words.
        dies_with_us: end the tool when the thread that started it ends in whatever way, SIGKILL included.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        run_as: Account | None = None,
        stdin: int | IO[Any] | None = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = subprocess.PIPE,
        cwd: str | None = None,
        pass_fds: Sequence[int] = (),
        secrets: Iterable[str | None] = (),
        dies_with_us: bool = False,
    ) -> None:
        self.argv = list(argv)
        self.name = os.path.basename(self.argv[0])
        self._secrets = list(secrets)
        self._head, self._tail = bytearray(), bytearray()
        identity: dict[str, Any] = {}
        if run_as is not None:
            identity = {"user": run_as.uid, "group": run_as.gid, "extra_groups": list(run_as.groups)}
        # Not run_command, which keeps all output in memory: what goes through here has no end.
        self.popen: subprocess.Popen[bytes] = subprocess.Popen(  # pylint: disable=ansible-bad-function
            self.argv,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=clean_environment(env, run_as),
            cwd=cwd or ("/" if run_as is not None else None),
            pass_fds=tuple(pass_fds),
            # A group of its own either way, so that all of it can be ended and a terminal's ^C reaches only us.
            start_new_session=not dies_with_us,
            preexec_fn=_die_with(os.getpid()) if dies_with_us else None,
            **identity,
        )
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                _widen(pipe.fileno())
        self._drain = threading.Thread(target=self._read_stderr, name=f"stderr-{self.name}", daemon=True)
        self._drain.start()

    def _read_stderr(self) -> None:
        pipe = self.popen.stderr
        if pipe is None:
            raise AssertionError("pipe is None")
        while True:
            chunk = os.read(pipe.fileno(), 4096)
            if not chunk:
                return
            self._keep(chunk)

    def _keep(self, said: bytes) -> None:
        """Remember the beginning and the end of what the tool says."""
        self._tail += said
        if len(self._tail) > STDERR_TAIL:
            room = STDERR_HEAD - len(self._head)
            self._head += self._tail[: min(room, len(self._tail) - STDERR_TAIL)]
            del self._tail[:-STDERR_TAIL]

    @property
    def stderr(self) -> str:
        """The beginning and the end of what the tool wrote to stderr, redacted."""
        return redact((self._head + self._tail).decode("utf-8", "replace"), self._secrets)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once the tool has ended and its last words were read."""
        code = self.popen.wait(timeout)
        self._drain.join(5)
        return code

    def check(self, timeout: float | None = None, *, stage: str | None = None) -> None:
        """Wait, and raise `ToolFailed` unless the tool exited 0."""
        code = self.wait(timeout)
        if code != 0:
            raise self.failure(code, stage)

    def failure(self, code: int, stage: str | None = None) -> ToolFailed:
        how = f"was killed by signal {_signal_name(-code)}" if code < 0 else f"exited with status {code}"
        return ToolFailed(f"{self.name} {how}.", stage=stage, tool_output=self.stderr)

    def terminate(self) -> None:
        """End the tool and all that it started: TERM, then KILL. Never raises; safe to call twice."""
        if self.popen.returncode is None:  # not reaped yet, so that the number of the group is still its own
            self._signal_group(signal.SIGTERM)
            self._signal_group(signal.SIGCONT)  # a stopped process acts on TERM only when it goes on
            try:
                self.popen.wait(TERMINATION_GRACE)
            except subprocess.TimeoutExpired:
                self._signal_group(signal.SIGKILL)
                self.popen.wait()
        # Last: closing a pipe that a thread of ours reads or writes waits for that thread, which waits for the tool.
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._drain.join(5)

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, number)


def _die_with(parent: int) -> Callable[[], None]:
    """What a child does between fork and exec to end with us.

    The kernel sends it TERM when we die. It stays in our session, in a group of its own: when we die while the group
    is stopped (SIGSTOP), the kernel also sends HUP and CONT to all of the group, so no stopped tool is left for ever.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def prepare() -> None:
        os.setpgid(0, 0)
        prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:  # we died in between
            os._exit(1)

    return prepare


def wait_readable(fd: int, timeout: float | None) -> bool:
    """Wait until there are bytes (or the end) to read; False when `timeout` seconds brought none."""
    poll = select.poll()  # select() ends at descriptor 1023
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else max(0.0, timeout) * 1000))


def _widen(fd: int) -> None:
    """Ask for a larger pipe; a refusal (a per-user limit) only costs speed."""
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, F_SETPIPE_SZ, PIPE_SIZE)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    run_as: Account | None = None,
    input_bytes: bytes | None = None,
    timeout: float | None = None,
    stage: str | None = None,
    secrets: Iterable[str | None] = (),
    check: bool = True,
    pass_fds: Sequence[int] = (),
) -> tuple[int, bytes, str]:
    """Run a tool to its end and return exit code, stdout and redacted stderr.

    Raises:
        ToolFailed: it exited non-zero (unless `check` is false) or took longer than `timeout` seconds.
    """
    stdin = subprocess.PIPE if input_bytes is not None else subprocess.DEVNULL
    process = Process(argv, env=env, run_as=run_as, stdin=stdin, secrets=secrets, pass_fds=pass_fds)
    late = threading.Event()

    def expire() -> None:
        late.set()
        process.terminate()

    timer = threading.Timer(timeout, expire) if timeout else None
    if timer:
        timer.start()
    feeder = None
    try:
        if input_bytes is not None:
            feeder = threading.Thread(target=_feed, args=(process, input_bytes), daemon=True)
            feeder.start()
        if process.popen.stdout is None:
            raise AssertionError("process.popen.stdout is None")
        try:
            out = process.popen.stdout.read()
        except ValueError:  # closed under us by the timer
            out = b""
        code = process.wait()
    except BaseException:
        process.terminate()
        raise
    finally:
        if timer:
            timer.cancel()
    if feeder is not None:
        feeder.join(5)
    if late.is_set():
        said = f"{process.name} did not end within {timeout:g} s and was stopped."
        raise ToolFailed(said, stage=stage, tool_output=process.stderr)
    if check and code != 0:
        raise process.failure(code, stage)
    return code, out, process.stderr


def _feed(process: Process, data: bytes) -> None:
    """Write a tool's stdin and close it; a tool that stops reading says why by its exit code."""
    pipe = process.popen.stdin
    if pipe is None:
        raise AssertionError("pipe is None")
    with contextlib.suppress(BrokenPipeError):
        pipe.write(data)
    with contextlib.suppress(BrokenPipeError):
        pipe.close()


def descendants(pid: int) -> list[int]:
    """All processes that come from one and have not ended, nearest first."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as stream:
                # The name of the program, in parentheses, may hold anything.
                fields = stream.read().rpartition(b")")[2].split()
                if fields[0] != b"Z":
                    children.setdefault(int(fields[1]), []).append(int(name))
    found, queue = list[int](), [pid]
    while queue:
        of_one = children.get(queue.pop(0), [])
        found += of_one
        queue += of_one
    return found
