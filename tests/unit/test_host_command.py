# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `holdfast`: what it calls, says, and exits with. Ansible is a stand-in that writes down its words."""

from __future__ import annotations

import json
import os
import pty
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._host import _main, _self

FAKE_ANSIBLE = """#!{python} -I
import json, os, sys
with open({seen!r}, "a") as stream:
    stream.write(json.dumps({{"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}}) + "\\n")
if "--check" in sys.argv and os.environ.get("HOLDFAST_JOB_LOG"):
    with open(os.environ["HOLDFAST_JOB_LOG"], "w") as stream:
        stream.write(open({planned!r}).read())
sys.exit(int(open({code!r}).read()))
"""


class Host:
    """A host below a directory of the test's own, whose ansible-playbook only says how it was called."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for path in ("etc/holdfast", "opt/holdfast/venv/bin", "var/lib/holdfast/ansible"):
            (root / path).mkdir(parents=True)
        (root / "etc/holdfast/inventory.yml").write_text("all: {}\n")
        names = [{"name": "db", "set": "app"}, {"name": "files", "set": None}]
        (root / "etc/holdfast/host.json").write_text(json.dumps({"inventory_hostname": "h", "components": names}))
        self.seen, self.planned, self.code = (root / name for name in ("seen", "planned", "code"))
        self.code.write_text("0")
        self.planned.write_text("")
        program = root / "opt/holdfast/venv/bin/ansible-playbook"
        program.write_text(
            FAKE_ANSIBLE.format(
                python=sys.executable, seen=str(self.seen), planned=str(self.planned), code=str(self.code)
            )
        )
        program.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "HOLDFAST_ROOT": str(self.root), "ANSIBLE_FORKS": "99"}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run it without a terminal."""
        return subprocess.run(
            _self.command(*words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def type(self, typed: str, *words: str) -> tuple[int, str]:
        """Run it on a terminal, typing something once it asks; the exit code and what was shown."""
        pid, terminal = pty.fork()
        if pid == 0:
            command = _self.command(*words)
            os.execvpe(command[0], command, self.environment)
        shown, answered, deadline = b"", False, time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                data = os.read(terminal, 4096)
            except OSError:
                break
            if not data:
                break
            shown += data
            if not answered and (b"go on: " in shown or b"[y/N] " in shown):
                os.write(terminal, f"{typed}\n".encode())
                answered = True
        _pid, status = os.waitpid(pid, 0)
        os.close(terminal)
        return os.waitstatus_to_exitcode(status), shown.decode()

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.seen.read_text().splitlines()] if self.seen.exists() else []


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def extra_vars(call: dict[str, Any]) -> dict[str, Any]:
    argv = call["argv"]
    return json.loads(argv[argv.index("-e") + 1].replace("!unsafe ", ""))


@pytest.mark.parametrize(
    ("line", "playbook", "told", "options"),
    [
        ("list", "catalogue", {}, []),
        ("list db files", "catalogue", {"holdfast_component": "db,files"}, []),
        ("backup", "backup", {}, []),
        ("backup db --check", "backup", {"holdfast_component": "db"}, ["--check", "--diff"]),
        ("backup --set app", "backup", {"holdfast_set": "app"}, []),
        ("prune --tag gold --check", "prune", {"holdfast_tag": "gold"}, ["--check", "--diff"]),
        ("drill db", "drill", {"holdfast_component": "db"}, []),
        (
            "verify db --level restore --id X",
            "verify",
            {"holdfast_component": "db", "holdfast_level": "restore", "holdfast_backup_id": "X"},
            [],
        ),
        ("restore db --check", "restore", {"holdfast_component": "db"}, ["--check", "--diff"]),
        (
            "restore db --at 2026-11-22T20:00:00Z --confirm omnidoc",
            "restore",
            {"holdfast_component": "db", "holdfast_at": "2026-11-22T20:00:00Z", "holdfast_restore_confirm": "omnidoc"},
            [],
        ),
        (
            "restore db -o target_database=look -o owner=a=b",
            "restore",
            {"holdfast_component": "db", "holdfast_restore_options": {"target_database": "look", "owner": "a=b"}},
            [],
        ),
        ("restore --set app", "restore", {"holdfast_set": "app"}, []),
        ("list -vv", "catalogue", {}, ["-v", "-v"]),
    ],
)
def test_a_command_is_a_playbook(
    host: Host, line: str, playbook: str, told: dict[str, Any], options: list[str]
) -> None:
    done = host.run(*shlex.split(line))
    assert done.returncode == 0, done.stderr
    (call,) = host.calls
    root = str(host.root)
    assert call["argv"][:4] == ["-i", f"{root}/etc/holdfast/inventory.yml", f"holdfast.ops.{playbook}", "-e"]
    assert extra_vars(call) == told
    assert call["argv"][5:] == options
    assert call["env"]["ANSIBLE_CONFIG"] == f"{root}/etc/holdfast/ansible.cfg"
    assert call["env"]["ANSIBLE_COLLECTIONS_PATH"] == _self.RELEASE
    assert "ANSIBLE_FORKS" not in call["env"], "an operator's own settings of Ansible reach no run"
    assert ("ANSIBLE_STDOUT_CALLBACK" in call["env"]) == ("-v" not in options)


def test_two_braces_are_no_template(host: Host) -> None:
    host.run("restore", "db", "--confirm", "{{ x }}")
    argv = host.calls[0]["argv"]
    assert '"holdfast_restore_confirm": !unsafe "{{ x }}"' in argv[argv.index("-e") + 1]


@pytest.mark.parametrize("code", [1, 2, 4])
def test_the_exit_code_is_that_of_the_playbook(host: Host, code: int) -> None:
    host.code.write_text(str(code))
    assert host.run("backup").returncode == code


def test_nothing_is_restored_that_was_not_named(host: Host) -> None:
    done = host.run("restore")
    assert done.returncode == 1
    assert "Say what to restore" in done.stderr
    assert "Declared here: db, files." in done.stderr
    assert not host.calls


# -- asked on a terminal ----------------------------------------------------------------------------------------------


def plan(host: Host, live: str | None, changed: bool = True) -> None:
    line = {"verb": "restore", "component": "db", "changed": changed, "ok": True, "backup_id": "B1"}
    host.planned.write_text(json.dumps({**line, **({"live": live} if live else {})}) + "\n")


def test_the_name_of_what_is_live_is_asked_for_and_passed_on(host: Host) -> None:
    plan(host, "omnidoc {{ x }}")
    code, shown = host.type("omnidoc {{ x }}", "restore", "db")
    assert code == 0, shown
    assert "db: omnidoc {{ x }} is live and would be replaced" in shown
    looked, done = host.calls
    assert "--check" in looked["argv"] and "--check" not in done["argv"]
    assert extra_vars(done)["holdfast_restore_confirm"] == {"db": "omnidoc {{ x }}"}


def test_what_was_shown_is_restored_and_not_what_became_the_latest_meanwhile(host: Host) -> None:
    plan(host, "omnidoc")
    code, shown = host.type("omnidoc", "restore", "db", "--at", "2026-11-22T20:00:00Z")
    assert code == 0, shown
    looked, done = map(extra_vars, host.calls)
    assert "holdfast_backup_id" not in looked
    assert done["holdfast_backup_id"] == "B1"
    assert "holdfast_at" not in done


@pytest.mark.parametrize("typed", ["", "omnidok", "y"])
def test_another_name_restores_nothing(host: Host, typed: str) -> None:
    plan(host, "omnidoc")
    code, shown = host.type(typed, "restore", "db")
    assert code == 1
    assert "Nothing was touched" in shown
    assert len(host.calls) == 1, "only looked at"


@pytest.mark.parametrize(("typed", "calls"), [("y", 2), ("", 1), ("n", 1)])
def test_where_nothing_is_live_a_yes_is_enough(host: Host, typed: str, calls: int) -> None:
    plan(host, None)
    code, _shown = host.type(typed, "restore", "db")
    assert (code, len(host.calls)) == (0 if calls == 2 else 1, calls)


def test_where_nothing_would_change_nothing_is_asked(host: Host) -> None:
    plan(host, "omnidoc", changed=False)
    code, shown = host.type("", "restore", "db")
    assert (code, len(host.calls)) == (0, 1), shown


def test_a_look_that_fails_ends_it(host: Host) -> None:
    host.code.write_text("2")
    code, _shown = host.type("", "restore", "db")
    assert (code, len(host.calls)) == (2, 1)


# -- errors that teach ------------------------------------------------------------------------------------------------


def test_a_host_that_was_told_nothing_says_so_and_ansible_is_not_run(host: Host) -> None:
    (host.root / "etc/holdfast/inventory.yml").unlink()
    done = host.run("backup")
    assert done.returncode == 1
    assert "was not told what to look after" in done.stderr
    assert "holdfast.ops.site" in done.stderr
    assert not host.calls


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_who_is_not_root_is_told_to_become_it(host: Host) -> None:
    (host.root / "etc/holdfast/inventory.yml").chmod(0)
    done = host.run("list")
    assert done.returncode == 1
    assert "Use sudo." in done.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "usage: holdfast COMMAND"),
        ("restor db", "did you mean restore?"),
        ("backup --nix", "Try: holdfast backup --help"),
        ("verify --level full", "invalid choice"),
        ("restore db -o target", "write it as NAME=VALUE"),
        ("job backup", "Try: holdfast job --help"),
    ],
)
def test_a_wrong_word_has_an_exit_code_that_no_result_has(host: Host, line: str, said: str) -> None:
    done = host.run(*shlex.split(line))
    assert done.returncode == _main.USAGE_ERROR
    assert said in done.stdout + done.stderr
    assert not host.calls


@pytest.mark.parametrize("name", sorted(_main.SUBCOMMANDS))
def test_every_command_explains_itself(host: Host, name: str) -> None:
    done = host.run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"holdfast {name}" in done.stdout
    assert name in host.run("--help").stdout


def test_a_reader_that_went_away_is_no_traceback(host: Host) -> None:
    line = f"{shlex.join(_self.command('--help'))} | true"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, env=host.environment, check=False)
    assert done.stderr == ""


def test_what_lies_in_the_present_directory_is_not_imported(host: Host, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.mkdir()
    for name in ("ansible_collections", "argparse", "json"):
        (trap / f"{name}.py").write_text("raise SystemExit('trapped')\n")
    done = subprocess.run(
        _self.command("--help"),
        cwd=trap,
        env={**host.environment, "PYTHONPATH": str(trap)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "trapped" not in done.stdout + done.stderr


# -- completion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "offered", "not_offered"),
    [
        ([""], {"list", "restore", "health"}, {"complete", "db"}),
        (["restore", ""], {"db", "files", "--at", "--check"}, set()),
        (["backup", "db", ""], {"files", "--check"}, {"db"}),
        (["verify", "--level", ""], {"stat", "restore"}, {"db"}),
        (["backup", "--set", ""], {"app"}, {"db"}),
        (["job", ""], {"backup", "verify", "drill"}, set()),
        (["nonsense", ""], set(), {"db"}),
    ],
)
def test_completion(host: Host, words: list[str], offered: set[str], not_offered: set[str]) -> None:
    done = host.run("complete", *words)
    assert done.returncode == 0, done.stderr
    found = set(done.stdout.split())
    assert offered <= found
    assert not found & not_offered


# -- status -----------------------------------------------------------------------------------------------------------


def log(host: Host, *lines: dict[str, Any]) -> None:
    path = host.root / "var/log/holdfast/jobs.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def job(event: str, run: str, minute: int, **more: Any) -> dict[str, Any]:
    common = {"run": run, "job": "backup", "component": "db", "time": f"2026-11-22T02:{minute:02d}:00Z"}
    return {**common, "event": event, **more}


def test_status_tells_how_the_last_run_ended(host: Host) -> None:
    log(host, job("start", "1", 0, pid=0), job("end", "1", 1, ok=False, msg="no room\nat all"))
    done = host.run("status")
    assert done.returncode == 1
    assert "FAILED: no room" in done.stdout
    assert "No job ran yet, and no timer is set, for: files" in done.stdout
    log(host, job("end", "1", 1, ok=False, msg="no room"), job("start", "2", 2, pid=0), job("end", "2", 3, ok=True))
    done = host.run("status", "--json")
    assert done.returncode == 0
    (one,) = json.loads(done.stdout)["jobs"]
    assert (one["component"], one["job"], one["ok"], one["last"]) == ("db", "backup", True, "2026-11-22T02:03:00Z")


def test_status_knows_a_run_that_was_killed_from_one_that_was_refused(host: Host) -> None:
    ended = [job("start", "1", 0, pid=0), job("end", "1", 1, ok=True)]
    log(host, *ended, job("start", "2", 2, pid=2**22 + 1))
    done = host.run("status")
    assert done.returncode == 1
    assert "FAILED: it was killed" in done.stdout
    log(host, *ended, job("start", "2", 2, pid=0), job("end", "2", 2, ok=False, error_code="locked", msg="running"))
    assert host.run("status").returncode == 0
    log(host, *ended, job("start", "2", 2, pid=os.getpid()))
    done = host.run("status")
    assert (done.returncode, "is running" in done.stdout) == (0, True)
