# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker containers: found by name, id or compose labels; tools run inside them as if they were child processes.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, cast

from ._errors import (
    HoldfastError,
    InvalidOption,
    MissingDependency,
    NotFound,
    PermissionDenied,
    ToolFailed,
    Unavailable,
)
from ._process import Process

OPTIONS: Mapping[str, Any] = {
    "container": {
        "type": "dict",
        "options": {
            "name": {"type": "str"},
            "id": {"type": "str"},
            "project": {"type": "str"},
            "service": {"type": "str"},
            "user": {"type": "str"},
            "docker_host": {"type": "str"},
        },
        "mutually_exclusive": [["name", "id", "project"]],
        "required_one_of": [["name", "id", "project"]],
        "required_together": [["project", "service"]],
    },
}
"""The option `container` of the engines whose servers can run in one."""

_STDERR = 2
_API_TIMEOUT = 60
_EXIT_POLL = 0.02


class Container:
    """A running container.

    Args:
        options: the option `container`.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        docker = _docker()
        self._user = options.get("user") or ""
        try:
            if options.get("docker_host"):
                self._client = docker.DockerClient(base_url=options["docker_host"], timeout=_API_TIMEOUT)
            else:
                self._client = docker.from_env(timeout=_API_TIMEOUT)
            found = self._find(options)
        except docker.errors.DockerException as error:
            raise _docker_error(error) from None
        self.id: str = found.id
        self.name: str = found.name
        if found.status != "running":
            raise Unavailable(f"The container {self.name} is {found.status}, not running.", stage="preflight")

    def _find(self, options: Mapping[str, Any]) -> Any:
        docker = _docker()
        wanted = options.get("name") or options.get("id")
        if wanted:
            try:
                return self._client.containers.get(wanted)
            except docker.errors.NotFound:
                raise NotFound(f"There is no container {wanted!r}.", stage="preflight") from None
        project, service = options.get("project"), options.get("service")
        if not (project and service):
            raise InvalidOption("container needs name, id, or project and service.", stage="preflight")
        labels = [f"com.docker.compose.project={project}", f"com.docker.compose.service={service}"]
        found = self._client.containers.list(filters={"label": labels})
        if len(found) != 1:
            what = "no running container" if not found else f"{len(found)} running containers"
            kind = NotFound if not found else InvalidOption
            raise kind(f"The compose project {project!r} has {what} of the service {service!r}.", stage="preflight")
        return found[0]

    def process(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: bool = False,
        secrets: Iterable[str | None] = (),
    ) -> ContainerProcess:
        """Start a tool inside."""
        return ContainerProcess(self._client.api, self.id, self._user, argv, env or {}, stdin, secrets)

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        input_bytes: bytes | None = None,
        stage: str | None = None,
        check: bool = True,
        secrets: Iterable[str | None] = (),
    ) -> tuple[int, bytes, str]:
        """Run a tool inside to its end: exit code, stdout, redacted stderr."""
        process = self.process(argv, env=env, stdin=input_bytes is not None, secrets=secrets)
        try:
            if input_bytes is not None and process.popen.stdin is not None:
                with contextlib.suppress(BrokenPipeError):  # its exit code says why it stopped reading
                    process.popen.stdin.write(input_bytes)
                    process.popen.stdin.close()
            if process.popen.stdout is None:
                raise AssertionError("process.popen.stdout is None")
            out = process.popen.stdout.read()
            code = process.wait()
            if check and code != 0:
                raise process.failure(code, stage)
            return code, out, process.stderr
        finally:
            process.terminate()

    def host_path(self, path: str) -> str | None:
        """Where on this host a path inside lies; None when it is part of the container itself."""
        found = self._found(lambda: self._client.api.inspect_container(self.id))
        mounts = [(str(each["Destination"]).rstrip("/"), str(each.get("Source") or "")) for each in found["Mounts"]]
        for inside, outside in sorted(mounts, key=lambda pair: len(pair[0]), reverse=True):
            if outside and (path == inside or path.startswith(inside + "/")):
                return outside + path[len(inside) :]
        return None

    def is_running(self) -> bool:
        return bool(self._found(lambda: self._client.api.inspect_container(self.id))["State"]["Running"])

    def stop(self, timeout: int) -> None:
        """Stop it, with so many seconds to do so by itself."""
        # The engine answers only when it has stopped.
        self._client.api.timeout = timeout + _API_TIMEOUT
        self._found(lambda: self._client.api.stop(self.id, timeout=timeout))

    def start(self) -> None:
        """Start it again."""
        self._found(lambda: self._client.api.start(self.id))

    @staticmethod
    def _found(ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except _docker().errors.DockerException as error:
            raise _docker_error(error) from None

    def close(self) -> None:
        self._client.close()


class ContainerProcess(Process):
    """A tool inside a container, with the face of a child process: real pipes, stderr kept, exit code checked.

    Docker has no way to end an exec'd process: `terminate` only takes its pipes away. Whoever starts a tool that
    could go on without them has to end it in another way (PostgreSQL: by terminating its session).
    """

    def __init__(
        self,
        api: Any,
        container: str,
        user: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        stdin: bool,
        secrets: Iterable[str | None] = (),
    ) -> None:
        # Deliberately not Process.__init__: nothing is forked here.
        self.argv = list(argv)
        self.name = os.path.basename(self.argv[0])
        self._secrets = list(secrets)
        self._head, self._tail = bytearray(), bytearray()
        docker = _docker()
        environment = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PGTZ": "UTC", **env}
        try:
            made = api.exec_create(container, self.argv, stdin=stdin, tty=False, user=user, environment=environment)
            wire = api.exec_start(made["Id"], socket=True)
        except docker.errors.DockerException as error:
            raise _docker_error(error) from None
        self._exec = _Exec(api, made["Id"], wire, stdin, self._keep)
        self.popen = cast("subprocess.Popen[bytes]", self._exec)
        self._drain = self._exec.reader

    def terminate(self) -> None:
        self._exec.end()
        self._drain.join(5)


class _Exec:
    """What `Process` uses of a Popen: an exec whose framed socket is pumped into and out of pipes."""

    def __init__(self, api: Any, exec_id: str, wire: Any, stdin: bool, keep: Any) -> None:
        self.pid = 0
        self.returncode: int | None = None
        self._api, self._id, self._keep = api, exec_id, keep
        self._wire = wire
        self._socket: socket.socket = getattr(wire, "_sock", wire)
        self._early = _already_read(wire, self._socket)
        self._socket.settimeout(None)
        self._error: str | None = None
        out_read, out_write = os.pipe()
        self.stdout = os.fdopen(out_read, "rb", 0)
        self.reader = threading.Thread(target=self._read, args=(out_write,), name="exec-out", daemon=True)
        self.stdin: Any = None
        if stdin:
            in_read, in_write = os.pipe()
            self.stdin = os.fdopen(in_write, "wb", 0)
            threading.Thread(target=self._feed, args=(in_read,), name="exec-in", daemon=True).start()
        self.reader.start()

    def _feed(self, descriptor: int) -> None:
        """Our pipe into the socket; its end becomes the tool's end of file."""
        try:
            with contextlib.suppress(OSError), open(descriptor, "rb", buffering=0) as pipe:
                while True:
                    data = pipe.read(1 << 17)
                    if not data:
                        break
                    self._socket.sendall(data)
        finally:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    def _read(self, descriptor: int) -> None:
        """Split the frames: 8 bytes of header (stream number, 3 zeros, length), then that many bytes."""
        early = io.BytesIO(self._early)

        def take(count: int) -> bytes:
            data = early.read(count)
            return data if len(data) == count else data + wire.read(count - len(data))

        try:
            with (
                open(descriptor, "wb", buffering=0) as pipe,
                open(os.dup(self._socket.fileno()), "rb", buffering=1 << 18) as wire,
            ):
                while True:
                    header = take(8)
                    if len(header) < 8:
                        return
                    length = int.from_bytes(header[4:], "big")
                    data = take(length)
                    if len(data) < length:
                        self._error = "the connection to Docker was lost"
                        return
                    if header[0] == _STDERR:
                        self._keep(data)
                    else:
                        view = memoryview(data)
                        while view:
                            view = view[os.write(pipe.fileno(), view) :]
        except OSError:
            return  # our reader went away, or `end` cut the socket: nobody waits for more

    def poll(self) -> int | None:
        if self.returncode is None:
            state = self._api.exec_inspect(self._id)
            if not state["Running"] and state["ExitCode"] is not None:
                self.returncode = int(state["ExitCode"])
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; Docker knows it a moment after the streams ended."""
        deadline = time.monotonic() + timeout if timeout is not None else None
        self.reader.join(timeout)
        while True:
            code = self.poll()
            if code is not None:
                if self._error and code == 0:
                    raise ToolFailed(f"The output of a tool inside the container is cut: {self._error}.")
                return code
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired([self._id], timeout or 0.0)
            time.sleep(_EXIT_POLL)

    def end(self) -> None:
        for pipe in (self.stdin, self.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._wire.close()


def _already_read(wire: Any, connection: socket.socket) -> bytes:
    """What a tool said so soon that it came with the head of Docker's answer.

    The SDK gives us the bare socket, but the head was read through a buffer, and what follows it there would be lost.
    """
    response = getattr(wire, "_response", None)
    buffered = getattr(getattr(getattr(response, "raw", None), "_fp", None), "fp", None)
    if not isinstance(buffered, io.BufferedReader):
        return b""
    connection.settimeout(0)  # an empty buffer would wait for the tool's next word
    try:
        return buffered.read(len(buffered.peek())) or b""
    except OSError:  # TLS says so when there is nothing yet
        return b""


def _docker() -> Any:
    try:
        import docker
    except ImportError as error:
        raise MissingDependency(
            "The Python library docker is not installed for the interpreter that runs this module.",
            stage="preflight",
            tool_output=str(error),
            hint="The role holdfast.ops.runtime installs it; or set ansible_python_interpreter to one that has it.",
        ) from None
    return docker


def _docker_error(error: Exception) -> HoldfastError:
    text = str(error)
    if "Permission denied" in text or "PermissionError" in text:
        return PermissionDenied(
            "The Docker engine refuses us.",
            stage="preflight",
            tool_output=text,
            hint="Run as root (become) or as a member of the group docker.",
        )
    if "Error while fetching server API version" in text or "Connection" in text:
        return Unavailable("The Docker engine cannot be reached.", stage="preflight", tool_output=text)
    return ToolFailed("The Docker engine refused.", stage="preflight", tool_output=text)
