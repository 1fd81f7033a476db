# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was set up was taken away: nothing of it runs or lies around, and nothing that was kept is lost."""

from __future__ import annotations

from ansible_collections.holdfast.ops.molecule.support.hosts import Store, connect, run, sql

HOST, SERVICES = "hf-cron-13", "hf-cron-services"


def test_nothing_starts_or_runs_any_more() -> None:
    host = connect(HOST)
    assert run(host, "find /etc/cron.d /etc/systemd/system /etc/logrotate.d -name '*holdfast*'").strip() == ""
    assert run(host, "systemctl list-units --all --no-legend 'holdfast*'").strip() == ""
    assert host.run("pgrep -af '[/]opt/holdfast'").stdout.strip() == ""  # and not the shell that asks


def test_programs_configuration_and_secrets_are_gone() -> None:
    host = connect(HOST)
    places = ("/opt/holdfast", "/etc/holdfast", "/usr/local/bin/holdfast", "/run/holdfast")
    assert [place for place in places if host.file(place).exists] == []
    kept = run(host, "find /var/lib/holdfast /var/log/holdfast -type f -exec grep -lF molecules-secret {} + || true")
    assert kept.strip() == ""


def test_the_package_rotates_its_log_again() -> None:
    """The file of nginx's package was set aside while ours stood in its place."""
    names = run(connect(HOST), "ls /etc/logrotate.d").split()
    assert [name for name in names if name.startswith("nginx")] == ["nginx"]


def test_what_was_kept_stays() -> None:
    host, store = connect(HOST), Store(connect(SERVICES))
    assert store.keys("documents/manifests/")
    assert store.keys("documents/verified/")
    assert host.file("/var/log/holdfast/jobs.jsonl").size > 0
    assert sql(host, "shop", "SELECT count(*) FROM orders") == "20000"
    assert host.file("/srv/documents/large.bin").size == 3_000_000
