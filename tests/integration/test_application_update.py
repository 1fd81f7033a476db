# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""application_update on real git repositories and a real process, which is asked which version it is."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._application._access import Access
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._application._checkout import Checkout
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._application._workplace import workplace
from ansible_collections.holdfast.ops.tests.support.application import PYTHON, Application, git_server
from ansible_collections.holdfast.ops.tests.support.modules import RunningModule
from ansible_collections.holdfast.ops.tests.support.procwatch import ProcessWatch
from ansible_collections.holdfast.ops.tests.support.servers import wait_until

pytestmark = pytest.mark.ansible

TOKEN = "glpat-of-the-deployment-4711"


@pytest.fixture
def app() -> Iterator[Application]:
    """Version 1, deployed and running."""
    application = Application()
    try:
        application.release("1", tag=True)
        application.deploy()
        yield application
    finally:
        application.remove()


def update(app: Application, *, check: bool = False, **more: Any) -> dict[str, Any]:
    return RunningModule("application_update", app.parameters(**more), check=check).result(timeout=600)


def codes(result: dict[str, Any]) -> set[str]:
    return {each["code"] for each in result["findings"]}


def test_an_update_is_planned_without_a_fetch_then_done_then_nothing_is_left_to_do(app: Application) -> None:
    first, second = app.head(), app.release("2")
    planned = update(app, check=True)
    assert planned["changed"]
    assert (planned["before"], planned["after"], planned["commit_count"]) == (first, second, None)
    assert "update_available" in codes(planned)
    objects = app.git("cat-file", "--batch-all-objects", "--batch-check", at=app.checkout)
    assert second not in objects, "looking fetched something"
    assert not app.state_dir.exists()

    done = update(app)
    assert done["changed"], done
    assert app.answer() == {"version": "2", "status": "ok"}
    assert (app.head(), app.branch()) == (second, "main")
    assert done["health"] == {"web": "pass"}
    assert [each["subject"] for each in done["commits"]] == ["Release 2"]
    assert done["section"]["tables"][0]["rows"][0]["commit"] == second[:12]
    assert app.installs() == ["1", "2"]

    again = update(app)
    assert not again["changed"], again
    assert not update(app, check=True)["changed"]
    assert app.installs() == ["1", "2"]
    assert app.markers() == []


def test_what_is_new_is_counted_and_bounded(app: Application) -> None:
    for number in range(2, 7):
        app.release(str(number))
    app.git("fetch", "--quiet", at=app.checkout)
    planned = update(app, check=True, limit=2)
    assert planned["commit_count"] == 5
    assert [each["subject"] for each in planned["commits"]] == ["Release 6", "Release 5"]
    assert planned["section"]["tables"][0]["note"] == "3 older commits not shown."


def test_local_changes_are_refused_by_name_before_anything_is_touched(app: Application) -> None:
    before, second = app.head(), app.release("2")
    changed = app.checkout / "lock"
    changed.write_text("mended in the middle of the night")
    planned = update(app, check=True)
    assert (planned["changed"], codes(planned)) == (False, {"local_changes"})
    refused = update(app)
    assert (refused["failed"], refused["error_code"]) == (True, "refused")
    assert "local changes: lock" in refused["msg"]
    assert changed.read_text() == "mended in the middle of the night"
    assert app.head() == before
    assert second not in app.git("cat-file", "--batch-all-objects", "--batch-check", at=app.checkout)
    assert app.installs() == ["1"]


def test_commits_that_were_made_here_are_refused(app: Application) -> None:
    app.release("2")
    app.git("commit", "--quiet", "--allow-empty", "--message", "A mend of ours", at=app.checkout)
    mine = app.head()
    refused = update(app)
    assert refused["error_code"] == "refused"
    assert "A mend of ours" in refused["msg"]
    assert app.head() == mine
    # An older release by its name takes nothing away: the branch keeps them.
    done = update(app, version="v1")
    assert done["changed"], done
    assert app.branch() == ""
    assert app.git("rev-parse", "main", at=app.checkout) == mine


@pytest.mark.parametrize("name", ["new", ".env"])  # one that nobody added, and one that is ignored
def test_a_file_in_the_way_is_refused_by_git_and_nothing_was_done(app: Application, name: str) -> None:
    before = app.head()
    app.release("2", also={name: "theirs"})
    mine = app.checkout / name
    mine.write_text("ours")
    refused = update(app)
    assert refused["failed"], refused
    assert name in refused["msg"]
    assert "rolled back" not in refused["msg"]
    assert mine.read_text() == "ours"
    assert app.head() == before
    assert app.installs() == ["1"]
    assert app.markers() == []


def test_a_failed_install_is_rolled_back_and_the_old_version_answers(app: Application) -> None:
    before = app.head()
    app.release("2", install="fail")
    failed = update(app)
    assert (failed["failed"], failed["error_code"]) == (True, "rolled_back")
    assert failed["stage"].startswith("install 1 of 1")
    assert "exited with status 3" in failed["msg"]
    assert "no matching distribution found for leftpad" in failed["tool_output"]
    assert failed["left_behind"] == "nothing"
    assert (app.head(), app.branch()) == (before, "main")
    assert app.answer() == {"version": "1", "status": "ok"}
    assert app.installs() == ["1", "1"], "the old one is installed again"
    assert app.markers() == []
    app.release("3")
    assert update(app)["changed"]
    assert app.answer()["version"] == "3"


def test_what_is_not_well_is_rolled_back_and_the_old_version_answers(app: Application) -> None:
    before = app.head()
    app.release("2", status="broken")
    failed = update(app, health_wait="1s")
    assert (failed["error_code"], failed["stage"]) == ("rolled_back", "health")
    assert "web: " in failed["msg"]
    assert app.head() == before
    assert app.answer() == {"version": "1", "status": "ok"}


def test_on_demand_what_fails_is_left_to_be_looked_at(app: Application) -> None:
    app.release("2", status="broken")
    failed = update(app, health_wait="1s", rollback=False)
    assert failed["error_code"] == "update_failed"
    assert "What stands now" in failed["left_behind"]
    app.wait_for_answer()
    assert app.answer() == {"version": "2", "status": "broken"}
    third = app.release("3")
    repaired = update(app)
    assert repaired["changed"], repaired
    assert "rolled back" in repaired["repaired"]
    assert app.installs() == ["1", "2", "1", "3"]
    assert app.head() == third


def test_when_going_back_fails_too_it_says_what_stands_and_the_next_run_mends_it(app: Application) -> None:
    before = app.head()
    app.release("2", install="fail")
    (app.outside / "broken").touch()  # a package index that is gone, say
    failed = update(app)
    assert (failed["failed"], failed["error_code"]) == (True, "rollback_failed")
    assert f"the checkout is at {before[:12]} (main)" in failed["left_behind"]
    assert "Going back to" in failed["msg"]
    assert len(app.markers()) == 1
    assert codes(update(app, check=True)) >= {"unfinished_update"}
    (app.outside / "broken").unlink()
    app.release("3")
    done = update(app)
    assert done["changed"], done
    assert app.answer()["version"] == "3"
    assert app.markers() == []


def kill_midway(app: Application, number: signal.Signals) -> RunningModule:
    """Send a signal to an update while it installs."""
    running = RunningModule("application_update", app.parameters())
    wait_until((app.outside / "waiting").exists, "the installation", timeout=300)
    running.signal(number)
    return running


@pytest.mark.parametrize("unfinished", ["roll_back", "complete"])
def test_the_run_after_a_killed_one_mends_it(app: Application, unfinished: str) -> None:
    before, second = app.head(), app.release("2", install="wait")
    running = kill_midway(app, signal.SIGKILL)
    assert running.result(timeout=600)["rc"] == -signal.SIGKILL
    assert app.head() == second, "it was killed in between"
    third = app.release("3")
    (app.outside / "gate").touch()

    planned = update(app, check=True, unfinished=unfinished)
    (finding,) = (each for each in planned["findings"] if each["code"] == "unfinished_update")
    assert finding["severity"] == "critical"
    assert second[:12] in finding["text"]
    assert "install 1 of 1" in finding["text"]
    assert app.head() == second

    done = update(app, unfinished=unfinished)
    assert done["changed"], done
    assert second[:12] in done["repaired"]
    assert app.markers() == []
    if unfinished == "complete":
        assert "completed" in done["repaired"]
        assert (app.head(), app.answer()["version"]) == (second, "2")
    else:
        assert f"rolled back to {before[:12]}" in done["repaired"]
        assert (app.head(), app.answer()["version"]) == (third, "3")
        assert app.installs()[-2:] == ["1", "3"]


def test_what_a_killed_run_has_left_running_is_ended_first(app: Application) -> None:
    app.release("2", install="wait")
    # A command whose own child goes on when it is killed, in its process group, as those of package managers do.
    slow = [{"command": ["/bin/sh", "-c", f"{PYTHON} install.py {app.outside} & wait"]}]
    running = RunningModule("application_update", app.parameters(install=slow))
    waiting = app.outside / "waiting"
    wait_until(lambda: waiting.exists() and waiting.read_text() != "", "the installation", timeout=300)
    child = int(waiting.read_text())
    running.signal(signal.SIGKILL)
    running.result(timeout=600)
    assert Path(f"/proc/{child}").exists(), "nothing was left running, so that this proves nothing"
    app.release("3")
    done = update(app)
    assert "1 process of it still ran and was killed" in done["repaired"]
    wait_until(lambda: dead(child), "the end of what was left")
    assert app.answer()["version"] == "3"


def dead(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


def test_a_lock_that_a_killed_git_left_is_no_obstacle(app: Application) -> None:
    app.release("2", install="wait")
    kill_midway(app, signal.SIGKILL).result(timeout=600)
    (app.checkout / ".git" / "index.lock").touch()
    (app.outside / "gate").touch()
    assert update(app)["changed"]
    assert app.answer()["version"] == "2"


def test_what_somebody_did_after_a_killed_run_is_not_lost(app: Application) -> None:
    app.release("2", install="wait")
    kill_midway(app, signal.SIGKILL).result(timeout=600)
    (app.checkout / "lock").write_text("mended in the middle of the night")
    (app.outside / "gate").touch()
    done = update(app)
    assert "git stash list" in done["repaired"]
    assert app.git("show", "stash@{0}:lock", at=app.checkout) == "mended in the middle of the night"
    assert app.answer()["version"] == "2"


@pytest.mark.parametrize("unfinished", ["roll_back", "complete"])
def test_a_checkout_that_was_killed_half_way_is_mended(app: Application, unfinished: str) -> None:
    second = app.release("2", install="wait", also={"new file": "theirs", "other": "theirs too"})
    kill_midway(app, signal.SIGKILL).result(timeout=600)
    (app.outside / "gate").touch()
    # As git leaves it that ends before it is done: some files are written, and neither index nor branch knows of it.
    app.git("reset", "--quiet", "--hard", "v1", at=app.checkout)
    (app.checkout / "version").write_text("2")
    (app.checkout / "new file").write_text("thei")
    (app.checkout / "nobody's").write_text("kept")
    done = update(app, unfinished=unfinished)
    assert done["changed"], done
    assert (app.head(), app.answer()["version"]) == (second, "2")
    assert (app.checkout / "new file").read_text() == "theirs"
    assert (app.checkout / "nobody's").read_text() == "kept"
    assert app.git("status", "--porcelain", "--untracked-files=no", at=app.checkout) == ""
    assert app.git("show", "stash@{0}^3:new file", at=app.checkout) == "thei"


def test_a_checkout_that_somebody_has_moved_after_a_killed_run_is_left_alone(app: Application) -> None:
    app.release("2", install="wait")
    kill_midway(app, signal.SIGKILL).result(timeout=600)
    third = app.release("3")
    app.git("pull", "--quiet", at=app.checkout)
    refused = update(app)
    assert refused["error_code"] == "refused"
    (marker,) = app.markers()
    assert f"remove {marker}" in refused["msg"]
    assert app.head() == third
    marker.unlink()
    assert not update(app)["changed"]


def test_who_stops_it_gets_the_old_version_back(app: Application) -> None:
    before = app.head()
    app.release("2", install="wait")
    stopped = kill_midway(app, signal.SIGTERM).result(timeout=600)
    assert (stopped["failed"], stopped["error_code"]) == (True, "interrupted")
    assert "rolled back" in stopped["msg"]
    assert app.head() == before
    assert app.answer()["version"] == "1"
    assert app.markers() == []


def test_a_second_update_at_the_same_time_is_refused(app: Application) -> None:
    app.release("2", install="wait")
    running = RunningModule("application_update", app.parameters())
    wait_until((app.outside / "waiting").exists, "the installation", timeout=300)
    assert update(app)["error_code"] == "locked"
    (app.outside / "gate").touch()
    assert running.result(timeout=600)["changed"]


def test_a_tag_a_commit_and_another_branch_can_be_installed(app: Application) -> None:
    first, second = app.head(), app.release("2", tag=True)
    third = app.release("3")
    app.git("checkout", "--quiet", "-b", "next", at=app.work)
    fourth = app.release("4")
    app.git("checkout", "--quiet", "main", at=app.work)

    assert update(app, version="v2")["changed"]
    assert (app.head(), app.branch(), app.answer()["version"]) == (second, "", "2")
    assert not update(app, version="v2")["changed"]
    assert update(app, version=third)["changed"]
    assert update(app, branch="next")["changed"]
    assert (app.head(), app.branch()) == (fourth, "next")
    assert update(app, version=first[:10])["changed"]
    assert app.answer()["version"] == "1"
    assert update(app)["error_code"] == "invalid_option", "no branch is checked out, and none is named"
    assert update(app, version="v9")["error_code"] == "not_found"
    assert update(app, branch="main")["changed"]
    assert (app.head(), app.branch()) == (third, "main")


def test_a_branch_that_was_not_checked_out_is_where_it_was_after_a_rollback(app: Application) -> None:
    app.git("checkout", "--quiet", "-b", "next", at=app.work)
    app.release("2", install="fail")
    before = app.head()
    assert update(app, branch="next")["error_code"] == "rolled_back"
    assert (app.head(), app.branch()) == (before, "main")
    assert app.git("branch", "--list", "next", at=app.checkout) == ""


def test_going_back_from_a_branch_can_be_begun_again(app: Application) -> None:
    checkout = Checkout(workplace(str(app.checkout), None), "origin", Access())
    app.git("branch", "next", at=app.checkout)
    for _time in range(2):  # as by a run that was killed in between, and the one after it
        checkout.put_branch("next", None, stage="checkout")
        assert app.git("branch", "--list", "next", at=app.checkout) == ""


def test_a_command_that_changes_files_of_the_repository_is_told_of(app: Application) -> None:
    app.release("2", install="dirty")
    done = update(app)
    assert "install_changed_files" in codes(done)
    assert "lock" in next(each["text"] for each in done["findings"])


def test_a_remote_that_does_not_answer_is_a_finding_and_no_update(app: Application) -> None:
    app.remote.rename(app.remote.with_name("gone.git"))
    planned = update(app, check=True)
    assert (planned["changed"], codes(planned)) == (False, {"unavailable"})
    assert update(app)["error_code"] == "unavailable"
    assert app.installs() == ["1"]


def test_a_token_reaches_git_and_nobody_else(app: Application, tmp_path: Path) -> None:
    second = app.release("2")
    kept = app.outside / "credentials"
    # The user's own helper would write down every password that it is told.
    app.git("config", "credential.helper", f"store --file={kept}", at=app.checkout)
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    with git_server(app, TOKEN) as server:
        app.git("remote", "set-url", "origin", server.url, at=app.checkout)
        assert update(app)["error_code"] == "unavailable", "the server asks for a token"
        wrong = update(app, token="another-token-altogether")
        assert wrong["error_code"] == "unavailable"
        assert "another-token-altogether" not in json.dumps({**wrong, "invocation": None})
        with ProcessWatch() as seen:
            done = update(app, token_file=str(file))
        assert done["changed"], done
        assert set(server.seen) == {"x-access-token"}
    assert {"git", "git-remote-http"} <= seen.programs()
    assert not seen.holding(TOKEN)
    assert TOKEN not in json.dumps(done)
    assert not kept.exists()
    everywhere = [path for place in (app.checkout, app.state_dir) for path in place.rglob("*") if path.is_file()]
    assert everywhere
    assert not [path for path in everywhere if TOKEN.encode() in path.read_bytes()]
    assert app.head() == second


def test_a_credential_in_a_url_is_refused_and_not_repeated(app: Application) -> None:
    for url in (f"https://ada:{TOKEN}@git.example.com/app.git", f"https://{TOKEN}@git.example.com/app.git"):
        app.git("remote", "set-url", "origin", url, at=app.checkout)
        refused = update(app)
        assert refused["error_code"] == "refused"
        assert TOKEN not in json.dumps(refused)


def test_a_token_never_travels_in_clear_text(app: Application) -> None:
    app.git("remote", "set-url", "origin", "http://git.example.com/app.git", at=app.checkout)
    assert update(app, token=TOKEN)["error_code"] == "refused"


def test_a_remote_is_a_name_and_a_directory_a_checkout(app: Application) -> None:
    assert "remote" in update(app, remote="https://git.example.com/app.git")["msg"]
    assert "remote" in update(app, remote="--upload-pack=touch")["msg"]
    assert update(app, remote="upstream")["error_code"] == "not_found"
    assert "no git checkout" in update(app, directory=str(app.outside))["msg"]
    below = app.checkout / "below"
    app.as_user("mkdir", str(below))
    assert "lies inside the checkout" in update(app, directory=str(below))["msg"]
    assert update(app, directory=f"{app.root}/none")["error_code"] == "not_found"


@pytest.mark.privileged
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run git as somebody else")
def test_git_and_commands_run_as_the_owner_and_never_as_root(app: Application) -> None:
    owner = app.checkout.stat().st_uid
    assert owner != 0
    hook = app.checkout / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\nid -u >> {app.outside}/hook\n")
    hook.chmod(0o755)
    app.release("2")
    assert update(app)["changed"]
    assert (app.outside / "hook").read_text().split() == [str(owner)]
    assert (app.outside / "installs").read_text().splitlines()[-1].split() == ["2", str(owner), "0o644"]
    strangers = [path for path in app.checkout.rglob("*") if path.lstat().st_uid != owner and path != hook]
    assert not strangers
    app.release("3")
    refused = update(app, run_as="root")
    assert refused["error_code"] == "refused"
    assert "would run as root" in refused["msg"]
