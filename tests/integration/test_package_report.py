# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module `package_report_info` with a real pip and a real npm, and an index and a registry of the test's own."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.tests.support.modules import run_module

WHEELS = {version: f"holdfastdemo-{version}-py3-none-any.whl" for version in ("1.0", "1.2")}


@contextlib.contextmanager
def serving(pages: Mapping[str, tuple[str, bytes]]) -> Iterator[str]:
    """A web server with these pages; its address."""

    class Pages(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, body = pages.get(self.path.partition("?")[0], ("", b""))
            self.send_response(200 if kind else 404)
            self.send_header("Content-Type", kind or "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: Any) -> None:
            """Nothing: it would only disturb."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user may enter, unlike pytest's own."""
    directory = Path(tempfile.mkdtemp(prefix="hf-packages-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def owner_of_projects() -> tuple[int, str]:
    """Whose the projects of a test are: as root somebody else's, as nobody can be."""
    entry = pwd.getpwnam("games" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name)
    return entry.pw_uid, entry.pw_name


def give(directory: Path) -> None:
    """Give all of a directory to its owner, as one that an application's user has made."""
    uid = owner_of_projects()[0]
    for path in (directory, *directory.rglob("*")):
        os.chown(path, uid, -1, follow_symlinks=False)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def interpreter() -> str:
    """A Python that can make environments and that other users may run."""
    who: dict[str, Any] = {"user": owner_of_projects()[0]} if os.geteuid() == 0 else {}
    for candidate in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            tried = subprocess.run(
                [candidate, "-c", "import ensurepip"], cwd="/", capture_output=True, check=False, **who
            )
            if tried.returncode == 0:
                return candidate
    pytest.skip("no Python here that other users may run can make environments (python3-venv)")


def wheel(version: str) -> bytes:
    path = Path(tempfile.mkdtemp()) / WHEELS[version]
    info = f"holdfastdemo-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holdfastdemo.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: holdfastdemo\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"holdfastdemo.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    content = path.read_bytes()
    shutil.rmtree(path.parent)
    return content


def look(**options: Any) -> dict[str, Any]:
    result = run_module("package_report_info", {"apt": False, **options})
    assert not result.get("failed"), result
    assert result["changed"] is False
    return result


def about(result: dict[str, Any], subject: Path) -> list[str]:
    return [each["code"] for each in result["findings"] if each["subject"] == str(subject)]


def test_an_environment_of_python(place: Path) -> None:
    """Its own pip asks its own index; an index that does not answer is a finding and not "all is well"."""
    venv = place / "venv"
    subprocess.run([interpreter(), "-m", "venv", str(venv)], check=True)
    links = "".join(f'<a href="/files/{name}">{name}</a>' for name in WHEELS.values())
    pages = {"/simple/holdfastdemo/": ("text/html", f"<!DOCTYPE html><html><body>{links}</body></html>".encode())}
    pages.update({f"/files/{name}": ("application/zip", wheel(version)) for version, name in WHEELS.items()})
    with serving(pages) as url:
        (venv / "pip.conf").write_text(f"[global]\nindex-url = {url}/simple\n")
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "-q", "holdfastdemo==1.0"]
        subprocess.run(pip, check=True, env={"PATH": os.defpath, "HOME": str(place)})
        give(venv)
        before = {path: path.stat().st_mtime_ns for path in venv.rglob("*")}
        found = look(venvs=[str(venv)])
        assert [(each["name"], each["installed"], each["latest"]) for each in found["projects"]] == [
            ("holdfastdemo", "1.0", "1.2")
        ]
        assert about(found, venv) == ["outdated"]
        assert {path: path.stat().st_mtime_ns for path in venv.rglob("*")} == before  # nothing was changed

    (venv / "pip.conf").write_text(f"[global]\nindex-url = http://127.0.0.1:{closed_port()}/simple\n")
    found = look(venvs=[str(venv), str(place / "none")])
    assert (found["projects"], about(found, venv)) == ([], ["index_unreachable"])
    assert about(found, place / "none") == ["not_looked_at"]


def project(place: Path, registry: str) -> Path:
    directory = place / "web"
    (directory / "node_modules" / "is-old").mkdir(parents=True)
    (directory / "package.json").write_text('{"name": "web", "version": "1.0.0", "dependencies": {"is-old": "^1.0.0"}}')
    (directory / "node_modules" / "is-old" / "package.json").write_text('{"name": "is-old", "version": "1.0.0"}')
    (directory / ".npmrc").write_text(f"registry={registry}/\n")
    give(directory)
    return directory


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed here")
def test_a_project_of_npm(place: Path) -> None:
    versions = {
        version: {"name": "is-old", "version": version, "dist": {"tarball": f"http://127.0.0.1:1/{version}.tgz"}}
        for version in ("1.0.0", "1.1.0", "2.0.0")
    }
    answer = {"name": "is-old", "dist-tags": {"latest": "2.0.0"}, "versions": versions}
    with serving({"/is-old": ("application/json", json.dumps(answer).encode())}) as url:
        directory = project(place, url)
        names = sorted(path.name for path in directory.rglob("*"))
        found = look(npm_projects=[str(directory)])
        assert found["projects"] == [
            {
                "path": str(directory),
                "tool": "npm",
                "name": "is-old",
                "installed": "1.0.0",
                "wanted": "1.1.0",
                "latest": "2.0.0",
            }
        ]
        assert sorted(path.name for path in directory.rglob("*")) == names
    found = look(npm_projects=[str(directory)])
    assert (found["projects"], about(found, directory)) == ([], ["index_unreachable"])


def test_a_tool_runs_as_the_owner_with_nothing_of_our_environment(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = project(place, "http://127.0.0.1:1")
    tool = place / "npm"
    # It answers with who it is and what it was given, in the form of an outdated package.
    tool.write_text(
        '#!/bin/sh\nprintf \'{"%s": {"current": "1", "latest": "%s"}}\' "$(id -un)" "${APP_SECRET-}${GIVEN-}"\nexit 1\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("APP_SECRET", "hunter2")
    found = look(npm_projects=[str(directory)], npm_command=str(tool), environment={"GIVEN": "yes"})
    (told,) = found["projects"]
    assert (told["name"], told["latest"]) == (owner_of_projects()[1], "yes")


def test_a_tool_that_does_not_end_is_ended(place: Path) -> None:
    directory = project(place, "http://127.0.0.1:1")
    tool = place / "npm"
    tool.write_text("#!/bin/sh\nexec sleep 600\n")
    tool.chmod(0o755)
    found = look(npm_projects=[str(directory)], npm_command=str(tool), tool_seconds=0.5)
    assert about(found, directory) == ["not_looked_at"]
    assert "did not end within 0.5 s" in str(found["findings"])


def test_the_system_s_packages_on_debian() -> None:
    """What apt itself says of the same lists, from a simulation that takes its locks as it likes."""
    if shutil.which("apt-get") is None:
        assert "no_apt" in {each["code"] for each in run_module("package_report_info", {})["findings"]}
        return
    found = run_module("package_report_info", {"tool_seconds": 55})
    assert not found.get("failed"), found
    assert "not_looked_at" not in {each["code"] for each in found["findings"] if each["subject"] == "apt"}
    simulated = subprocess.run(
        ["apt-get", "-s", "-o", "Debug::NoLocking=true", "--ignore-hold", "dist-upgrade"],
        capture_output=True,
        check=True,
        text=True,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
    )
    names = {line.split()[1] for line in simulated.stdout.splitlines() if line.startswith("Inst ") and " [" in line}
    told = {each["name"] for each in found["upgrades"]}
    assert told <= names
    assert len(told) == sum(
        1 for line in simulated.stdout.splitlines() if line.startswith("Inst ") and line.split()[2].startswith("[")
    )
