# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application as somebody deploys it: a git repository with releases, a checkout of it, and a process that answers.

As root all of it belongs to, and runs as, an account without rights.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .servers import dropped_to, free_ports, short_directory, unprivileged_user, wait_until

# One that every user can run: the environment's own may lie where others cannot look.
PYTHON = shutil.which("python3", path="/usr/bin:/bin:/usr/local/bin") or sys.executable

APP = """
import http.server, json, pathlib, sys
here = pathlib.Path(__file__).parent
answer = {"version": (here / "built/version").read_text(), "status": (here / "status").read_text()}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

# `built` is what installing makes of a checkout; it is not in the repository.
INSTALL = """
import os, pathlib, sys, time
here, outside = pathlib.Path.cwd(), pathlib.Path(sys.argv[1])
how = (here / "install").read_text()
print("installing", (here / "version").read_text())
if how == "wait":
    (outside / "waiting").write_text(str(os.getpid()))
    while not (outside / "gate").exists():
        time.sleep(0.02)
if how == "fail" or (outside / "broken").exists():
    print("no matching distribution found for leftpad")
    sys.exit(3)
if how == "dirty":
    (here / "lock").write_text("other")
(here / "built").mkdir(exist_ok=True)
(here / "built/version").write_text((here / "version").read_text())
with open(outside / "installs", "a") as log:
    print((here / "version").read_text(), os.getuid(), oct(os.stat(here / "built/version").st_mode & 0o777), file=log)
"""

RESTART = """
import os, pathlib, signal, subprocess, sys, time
outside, checkout, port = map(pathlib.Path, sys.argv[1:])
pid = outside / "pid"
if pid.exists():
    number = int(pid.read_text())
    try:
        os.kill(number, signal.SIGKILL)
        while "\\nState:\\tZ" not in pathlib.Path(f"/proc/{number}/status").read_text():
            time.sleep(0.01)
    except (ProcessLookupError, FileNotFoundError):
        pass
with open(outside / "log", "ab") as log:
    app = subprocess.Popen([sys.executable, "app.py", str(port)], cwd=checkout, stdout=log, stderr=log,
                           stdin=subprocess.DEVNULL, start_new_session=True)
pid.write_text(str(app.pid))
"""


class Application:
    """Releases in `remote`, made in `work`; `checkout` is what is deployed; `outside` is what is none of git's."""

    def __init__(self) -> None:
        self.user = unprivileged_user()
        self.root = short_directory("hf-app-", self.user)
        self.remote, self.work, self.checkout = (self.root / name for name in ("remote.git", "work", "checkout"))
        self.outside = self.root / "outside"
        self.state_dir = Path(f"{self.root}-state")
        (self.port,) = free_ports(1)
        self.root.chmod(0o755)
        self.as_user("mkdir", str(self.outside))
        self.git("init", "--quiet", "--bare", "--initial-branch=main", str(self.remote))
        self.git("init", "--quiet", "--initial-branch=main", str(self.work))
        self.git("remote", "add", "origin", str(self.remote), at=self.work)
        (self.outside / "restart.py").write_text(RESTART)

    def as_user(self, *argv: str, at: Path | None = None) -> str:
        """Run a command as whom all of it belongs to."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.root), "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            argv,
            cwd=at or self.root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            **dropped_to(self.user),
        )
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def git(self, *arguments: str, at: Path | None = None) -> str:
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
        return self.as_user("git", *who, *arguments, at=at)

    def release(
        self,
        version: str,
        *,
        install: str = "ok",
        status: str = "ok",
        tag: bool = False,
        also: Mapping[str, str] | None = None,
    ) -> str:
        """Commit a version and push it; its commit.

        Args:
            install: `fail`, `wait` (until outside/gate is there), or `dirty` (a tracked file is changed).
            status: what the running application says of itself.
            also: further files, those that are ignored too.
        """
        files = {"version": version, "install": install, "status": status, "lock": "same", **(also or {})}
        files[".gitignore"] = "built/\n.env\n"
        for name, content in {**files, "app.py": APP, "install.py": INSTALL}.items():
            path = self.work / name
            path.write_text(content)
            if self.user:
                shutil.chown(path, self.user)
        self.git("add", "--force", ".", at=self.work)
        self.git("commit", "--quiet", "--message", f"Release {version}", at=self.work)
        if tag:
            self.git("tag", "--annotate", "--message", version, f"v{version}", at=self.work)
        self.git("push", "--quiet", "--follow-tags", "origin", "HEAD", at=self.work)
        return self.git("rev-parse", "HEAD", at=self.work)

    def deploy(self) -> None:
        """Clone, install and start it, as its people did before holdfast came."""
        self.git("clone", "--quiet", str(self.remote), str(self.checkout))
        self.as_user(PYTHON, "install.py", str(self.outside), at=self.checkout)
        self.as_user(*self.restart_command)
        self.wait_for_answer()

    @property
    def restart_command(self) -> list[str]:
        return [PYTHON, str(self.outside / "restart.py"), str(self.outside), str(self.checkout), str(self.port)]

    def wait_for_answer(self) -> None:
        def answers() -> bool:
            with contextlib.suppress(OSError):
                return bool(self.answer())
            return False

        wait_until(answers, "the application")

    def answer(self) -> dict[str, Any]:
        """What the running application says."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as response:
            found: dict[str, Any] = json.load(response)
        return found

    def head(self) -> str:
        return self.git("rev-parse", "HEAD", at=self.checkout)

    def branch(self) -> str:
        """The branch that is checked out, empty for none."""
        return self.git("branch", "--show-current", at=self.checkout)

    def installs(self) -> list[str]:
        """The versions that were installed, in their order."""
        return [line.split()[0] for line in (self.outside / "installs").read_text().splitlines()]

    def markers(self) -> list[Path]:
        return sorted(self.state_dir.glob("maintenance/application_update/*.json"))

    def parameters(self, **more: Any) -> dict[str, Any]:
        """Of the module, for this application."""
        return {
            "directory": str(self.checkout),
            "install": [{"command": [PYTHON, "install.py", str(self.outside)], "timeout": "60s"}],
            "restart": [{"command": self.restart_command}],
            "health": [
                {"name": "web", "kind": "http", "url": f"http://127.0.0.1:{self.port}/", "json": {"status": "ok"}}
            ],
            "health_wait": "2m",  # for a busy machine; what is well is so at once
            "health_stay": "0s",
            "state_dir": str(self.state_dir),
            **more,
        }

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((self.outside / "pid").read_text()), signal.SIGKILL)
        for path in (self.root, self.state_dir):
            shutil.rmtree(path, ignore_errors=True)


class GitServer:
    """The remote over HTTP by git's own program, for who knows a token."""

    def __init__(self, application: Application, token: str) -> None:
        self.seen: list[str] = []
        """Users that came with the right token."""
        expected = token
        user, root, seen = application.user, application.root, self.seen
        backend = Path(application.as_user("git", "--exec-path")) / "git-http-backend"

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def _answer(self) -> None:
                scheme, _blank, encoded = self.headers.get("Authorization", "").partition(" ")
                name, _colon, given = (
                    base64.b64decode(encoded).decode().partition(":") if scheme == "Basic" else ("", "", "")
                )
                if given != expected:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="git"')
                    self.end_headers()
                    return
                seen.append(name)
                path, _mark, query = self.path.partition("?")
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                done = subprocess.run(
                    [backend],
                    input=body,
                    env={
                        "GIT_PROJECT_ROOT": str(root),
                        "GIT_HTTP_EXPORT_ALL": "1",
                        "GIT_CONFIG_NOSYSTEM": "1",
                        "PATH_INFO": path,
                        "QUERY_STRING": query,
                        "REQUEST_METHOD": self.command,
                        "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                        "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                        "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                        "PATH": os.environ["PATH"],
                    },
                    capture_output=True,
                    check=True,
                    **dropped_to(user),
                )
                head, _blank_line, content = done.stdout.partition(b"\r\n\r\n")
                self.wfile.write(b"HTTP/1.0 200 OK\r\n" + head + b"\r\n\r\n" + content)

            do_GET = do_POST = _answer  # noqa: N815 - the names that http.server asks for

            def log_message(self, *arguments: object) -> None:
                """Nobody reads it."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/remote.git"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def git_server(application: Application, token: str) -> Iterator[GitServer]:
    """A running GitServer."""
    server = GitServer(application, token)
    try:
        yield server
    finally:
        server.stop()
