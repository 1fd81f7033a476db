# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check kind `celery` with a real worker behind a real Redis, asked by the application's own celery."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._health._interface import FAIL, PASS
from ansible_collections.holdfast.ops.tests.support.health import look, measured
from ansible_collections.holdfast.ops.tests.support.redis import BUILDS, Service
from ansible_collections.holdfast.ops.tests.support.servers import Server, short_directory

CELERY = Path(__file__).parents[2] / ".build" / "celery" / "bin" / "celery"
pytestmark = pytest.mark.skipif(
    "redis" not in BUILDS or not CELERY.exists(),
    reason="needs celery in an environment of its own (tests/slow/prepare makes it) and Redis from a wheel",
)
_APP = """
import os, time
from celery import Celery
print("an application that talks when it is imported")
app = Celery("shop", broker=os.environ["BROKER_URL"])

@app.task
def work(seconds):
    time.sleep(seconds)
"""


@pytest.fixture
def application() -> Iterator[tuple[dict[str, Any], Server]]:
    """The options of a check, and the worker that it is about."""
    home = short_directory("hf-celery-")
    (home / "shop.py").write_text(_APP)
    with Service(BUILDS["redis"], "--requirepass", "hunter2hunter2") as broker:
        environment = {"BROKER_URL": f"redis://:hunter2hunter2@127.0.0.1:{broker.port}/0"}
        (home / "env").write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
        pool = ["--pool", "threads", "--concurrency", "2", "--without-gossip", "--without-mingle"]
        worker = Server(
            [str(CELERY), "--app", "shop", "worker", *pool, "--loglevel", "info", "--hostname", "shop@test"],
            log=home / "log",
            env={**os.environ, **environment, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=home,
        )
        try:
            worker.wait_ready(lambda: "ready." in (home / "log").read_text(), "celery")
            yield (
                {
                    "kind": "celery",
                    "app": "shop",
                    "command": str(CELERY),
                    "directory": str(home),
                    "environment_file": str(home / "env"),
                    "reply_timeout": 5,
                    "timeout": "60s",
                },
                worker,
            )
        finally:
            worker.stop(signal.SIGQUIT)
            shutil.rmtree(home, ignore_errors=True)


def test_a_worker_that_answers_works_and_is_gone(application: tuple[dict[str, Any], Server]) -> None:
    check, worker = application
    found = look(**check, names=["shop@test"])
    assert (found.status, measured(found, "workers").value) == (PASS, 1), found
    assert look(**check, workers=2).output == "1 of 2 workers of shop answer."
    assert look(**check, names=["shop@other"]).output == "The worker shop@other does not answer."

    directory = check["directory"]
    environment = dict(line.split("=", 1) for line in (Path(directory) / "env").read_text().splitlines())
    call = [str(CELERY), "--app", "shop", "call", "shop.work", "--args", "[600]"]
    subprocess.run(call, cwd=directory, env={**os.environ, **environment}, check=True, capture_output=True)
    deadline = time.monotonic() + 60
    while look(**check, active_critical=1).status != FAIL and time.monotonic() < deadline:
        time.sleep(0.1)
    found = look(**check, active_warning=1)
    assert measured(found, "active").value == 1

    worker.stop(signal.SIGKILL)
    assert look(**{**check, "reply_timeout": 1}).output == "0 of 1 workers of shop answer."


def test_a_broker_that_refuses_is_told_without_its_password(application: tuple[dict[str, Any], Server]) -> None:
    check, _worker = application
    path = Path(check["environment_file"])
    path.write_text(path.read_text().replace("hunter2hunter2", "wrong-password"))
    found = look(**check)
    assert found.status == FAIL
    assert "wrong-password" not in repr(found)
    assert look(**{**check, "app": "no_such_app"}).status == FAIL
