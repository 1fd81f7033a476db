# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""application_update: what is refused on the controller, which credentials may go where, and the order of restarts."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import InvalidDeclaration
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption, NotFound, Refused, ToolFailed
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._application import _marker, _service
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._application._access import Access, check_url
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._application._checkout import Head, Target
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._application._marker import Marker, Markers
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._application._service import Service
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._application._workplace import (
    Step,
    Workplace,
    workplace,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._parse import parse_maintenance
from ansible_collections.holdfast.ops.plugins.module_utils._operations import _services
from ansible_collections.holdfast.ops.plugins.module_utils._progress import Progress

SECRET = "hunter2-of-the-check"

# What happens to units is written down, in order; `broken` does not start.
SYSTEMCTL = """#!/bin/sh
case "$1 $2" in
"show --property=NeedDaemonReload") cat "{place}/reload" ;;
"show "*) test "$4" = gone && echo LoadState=not-found || printf 'LoadState=loaded\\nActiveState=active\\n' ;;
"restart --")
  test "$3" != broken || {{ echo "Job for broken.service failed" >&2; exit 1; }}
  echo "$3" >> "{place}/log" ;;
daemon-reload*) echo daemon-reload >> "{place}/log" ;;
esac
"""


def problems(**options: Any) -> str:
    task = {"name": "update", "kind": "application_update", "directory": "/opt/app", **options}
    with pytest.raises(InvalidDeclaration) as caught:
        parse_maintenance([task])
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"directory": "app"}, "directory: must be an absolute path"),
        ({"remote": "https://git.example.com/app.git"}, "remote: is no name"),
        ({"branch": "--upload-pack=x"}, "branch: is no name"),
        ({"version": "main..v2"}, "version: is no name"),
        ({"branch": "main", "version": "v2"}, "branch and version exclude each other"),
        ({"token": SECRET, "token_file": "/t"}, "token and token_file exclude each other"),
        ({"token": SECRET, "ssh_key_file": "/k"}, "token and ssh_key_file exclude each other"),
        ({"install": [{"command": []}]}, "command: is an empty list"),
        ({"install": [{"command": ["make"], "directory": "../other"}]}, "install[0].directory: must lie below"),
        ({"install": [{"command": ["make"], "timeout": "5"}]}, "install[0].timeout: must be whole numbers with a unit"),
        ({"restart": [{"comand": ["make"]}]}, "comand: unknown key, did you mean command?"),
        ({"umask": "22"}, "umask: must be three octal digits"),
        ({"services": ["-H host"]}, "services[0]: is no name"),
        ({"pm2": ["all"]}, "pm2[0]: is no name"),
        ({"health_wait": "soon"}, "health_wait: must be whole numbers"),
        ({"limit": 0}, "limit: must be at least 1"),
        ({"environment": {"A B": "x"}}, "environment: a key is no name"),
        ({"health": [{"name": "web", "kind": "htp", "url": "http://x"}]}, "did you mean http?"),
        ({"health": [{"name": "restarted_services", "kind": "load"}]}, "choose another name"),
    ],
)
def test_what_cannot_be_right_is_refused_by_its_key(options: dict[str, Any], said: str) -> None:
    assert said in problems(**options)


def test_a_secret_of_a_check_belongs_into_a_file() -> None:
    said = problems(health=[{"name": "db", "kind": "redis", "login_password": SECRET}])
    assert "use login_password_file" in said
    assert SECRET not in said


def test_it_is_never_done_by_a_clock_unless_somebody_says_so_and_writes_to_its_directory() -> None:
    (task,) = parse_maintenance([{"name": "update", "kind": "application_update", "directory": "/opt/app"}]).tasks
    assert task.every == "never"
    from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._registry import KINDS

    assert list(KINDS[task.kind].written(task.options)) == ["/opt/app"]


@pytest.mark.parametrize(
    "url",
    [
        f"https://ada:{SECRET}@git.example.com/app.git",
        "https://ghp_0123456789abcdefghij@github.com/o/app.git",
        "https://glpat-0123456789@gitlab.example.com/o/app.git",
        f"ssh://ada:{SECRET}@git.example.com/app.git",
    ],
)
def test_a_url_with_a_credential_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(Refused) as caught:
        check_url(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/app.git",
        "https://ada@bitbucket.org/o/app.git",
        "git@github.com:o/app.git",
        "ssh://git@git.example.com:2222/app.git",
        "/srv/git/app.git",
        "file:///srv/git/app.git",
    ],
)
def test_a_url_without_one_is_not(url: str) -> None:
    check_url(url)


def test_a_token_is_told_to_its_own_server_alone_and_stands_in_no_argument() -> None:
    access = Access("deploy", SECRET)
    with access.granted("https://git.example.com:8443/app.git", "") as grant:
        assert SECRET not in str(grant)
        (descriptor,) = grant.descriptors
        assert Path(f"/proc/self/fd/{descriptor}").read_text() == f"username=deploy\npassword={SECRET}\n"
        assert grant.arguments[:2] == ("-c", "credential.helper=")
        assert grant.arguments[3].startswith("credential.https://git.example.com:8443.helper=!")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    for url, error in (
        ("http://git.example.com/app.git", Refused),
        ("git@github.com:o/app.git", InvalidOption),
        ("/srv/git/app.git", InvalidOption),
    ):
        with pytest.raises(error), access.granted(url, ""):
            pass


def test_a_key_is_for_ssh_and_a_server_has_to_be_known() -> None:
    access = Access(key=b"a key", known_hosts="/etc/app/known hosts")
    with access.granted("git@git.example.com:app.git", "") as grant:
        command = grant.environment["GIT_SSH_COMMAND"]
        assert "StrictHostKeyChecking=yes" in command
        assert f"-i /proc/$PPID/fd/{grant.descriptors[0]}" in command
        assert "'UserKnownHostsFile=\"/etc/app/known hosts\"'" in command
    with pytest.raises(InvalidOption), access.granted("https://git.example.com/app.git", ""):
        pass
    with Access().granted("https://git.example.com/app.git", "") as grant:
        assert not grant.arguments


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return workplace(str(tmp_path), None)


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it writes down what it was asked to do."""
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL.format(place=tmp_path))
    program.chmod(0o755)
    (tmp_path / "reload").write_text("no\nno\n")
    for module in (_service, _services):
        monkeypatch.setattr(module, "find_program", lambda *names, **options: str(program))
    return tmp_path / "log"


def test_units_are_restarted_in_their_order_and_nothing_after_one_that_fails(place: Workplace, systemctl: Path) -> None:
    Service(place, units=("backend", "worker")).restart(Progress(), "1")
    assert systemctl.read_text().split() == ["backend", "worker"]
    with pytest.raises(ToolFailed, match="Job for broken"):
        Service(place, units=("broken", "worker")).restart(Progress(), "1")
    assert systemctl.read_text().split() == ["backend", "worker"]


def test_units_that_the_update_has_changed_are_read_first(place: Workplace, systemctl: Path) -> None:
    (Path(place.directory) / "reload").write_text("no\nyes\n")
    step = Step(("/bin/sh", "-c", "echo compose >> log"))
    Service(place, units=("backend",), steps=(step,)).restart(Progress(), "1")
    assert systemctl.read_text().split() == ["daemon-reload", "backend", "compose"]


def test_a_unit_that_does_not_exist_is_missed_beforehand(place: Workplace, systemctl: Path) -> None:
    with pytest.raises(NotFound, match="no systemd unit gone"):
        Service(place, units=("backend", "gone")).missing()
    assert not systemctl.exists()


def test_a_command_that_takes_too_long_is_ended_with_what_it_started(place: Workplace) -> None:
    child = Path(place.directory) / "child"
    step = Step(("/bin/sh", "-c", "sleep 300 & echo $! > child; echo halfway; wait"), timeout=1)
    with pytest.raises(ToolFailed, match="did not end within 1 s") as caught:
        place.perform(step, "install", "1")
    assert "halfway" in str(caught.value.tool_output)
    status = Path(f"/proc/{child.read_text().strip()}/status")
    assert not status.exists() or "State:\tZ" in status.read_text()


def test_a_full_disk_keeps_what_the_marker_says_and_stops_no_rollback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    markers = Markers(str(tmp_path), "/opt/app")
    before, target = Head("1" * 40, "main"), Target("main", "2" * 40, "main", "refs/heads/main")
    marker = Marker("run", "/opt/app", "2026-11-22T06:30:00Z", before, target, None, True)
    markers.write(marker)

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_marker, "replace_file", full)
    markers.at(marker, "install 1 of 1: make")
    assert markers.read() == marker
    with pytest.raises(OSError, match="No space left"):  # but nothing begins that could not be written down
        markers.write(marker)


@pytest.mark.privileged
@pytest.mark.skipif(os.geteuid() != 0, reason="only root's own checkouts are judged")
@pytest.mark.parametrize("what", ["mode", "owner", "worktree", "hooks", "hook", "above", "moved"])
def test_root_works_only_where_nobody_else_can_write(tmp_path: Path, what: str) -> None:
    checkout = tmp_path / "checkout"
    (checkout / ".git" / "hooks").mkdir(parents=True)
    assert workplace(str(checkout), "root").run_as == "root"
    if what == "mode":
        (checkout / ".git").chmod(0o775)
    elif what == "owner":
        os.chown(checkout, 65534, 65534)
    elif what == "hook":
        hook = checkout / ".git" / "hooks" / "post-checkout"
        hook.touch()
        os.chown(hook, 65534, 65534)
    elif what == "above":
        os.chown(tmp_path, 65534, 65534)
    elif what == "moved":
        tmp_path.chmod(0o777)
    elif what == "worktree":
        shutil.rmtree(checkout / ".git")
        (checkout / ".git").write_text("gitdir: /home/ada/app/.git/worktrees/checkout\n")
    else:
        (checkout / ".git" / "hooks").rmdir()
        (checkout / ".git" / "hooks").symlink_to("/home/ada/hooks")
    with pytest.raises(Refused, match="as root"):
        workplace(str(checkout), "root")
    if what == "moved":
        tmp_path.chmod(0o1777)  # nobody moves what is root's there
        assert workplace(str(checkout), "root").run_as == "root"


def test_secrets_of_the_environment_are_not_repeated(tmp_path: Path) -> None:
    place = workplace(str(tmp_path), None, environment={"APP_PASSWORD": SECRET}, secrets=[SECRET])
    with pytest.raises(ToolFailed) as caught:
        place.perform(Step(("/bin/sh", "-c", 'echo "cannot log in with $APP_PASSWORD"; exit 1')), "install", "1")
    assert "cannot log in with ****" in str(caught.value)
    assert SECRET not in str(caught.value)
