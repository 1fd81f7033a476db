# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that was built anew is the one that was lost."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.holdfast.ops.molecule.support.hosts import entries, now, run, wait_for
from ansible_collections.holdfast.ops.molecule.support.omnidoc import (
    expectation,
    machine,
    order,
    snapshot,
    stamp,
    the_host,
)


def lost() -> dict[str, Any]:
    """The host as it was before."""
    return json.loads(expectation().read_text(encoding="utf-8"))


def test_it_is_another_machine() -> None:
    assert machine(the_host()) != lost()["machine"]


def test_it_holds_what_the_lost_one_held() -> None:
    assert snapshot(the_host()) == lost()["host"]


def test_users_go_on_where_they_were() -> None:
    host = the_host()
    wait_for("the application", lambda: host.run("curl -sf http://127.0.0.1/api/health").rc == 0, timeout=60)
    known = json.loads(lost()["host"]["rows"])
    assert order(host, "On the new host") == max(each["id"] for each in known) + 1


def test_it_looks_after_itself_again() -> None:
    host = the_host()
    assert run(host, "systemctl list-units --failed --plain --no-legend 'holdfast*'") == ""
    began = stamp(now(host))
    wait_for(
        "a backup by its own timer",
        lambda: [
            start
            for start in entries(host, event="start", job="backup", component="omnidoc_documents")
            if start["time"] >= began and entries(host, event="end", run=start["run"], ok=True)
        ],
        timeout=300,
    )
