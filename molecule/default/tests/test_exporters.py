# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exporters on both Debians, scraped by a real Prometheus: protected, hardened, and with a way back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from ansible_collections.holdfast.ops.molecule.support.hosts import connect, properties, run, wait_for
from testinfra.host import Host

HOSTS = ["hf-default-12", "hf-default-13"]
SERVICES = "hf-default-services"
PORTS = {"node": 9100, "postgres": 9187, "redis": 9121, "blackbox": 9115, "process": 9256, "edge": 9101}
PASSWORD = "molecules scrape"
MOST_EXPOSED = 2.5


@pytest.fixture(params=HOSTS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def curl(host: Host, url: str, *options: str) -> str:
    """What a request gives; certificates are judged by Prometheus, and here not."""
    return run(host, f"curl -sS -k {' '.join(options)} %s", url)


def scrape(host: Host, exporter: str) -> str:
    login = [] if exporter == "redis" else [f"-u 'prometheus:{PASSWORD}'"]
    return curl(host, f"https://127.0.0.1:{PORTS[exporter]}/metrics", "--fail-with-body", *login)


def collectors(metrics: str) -> dict[str, str]:
    return dict(re.findall(r'^node_scrape_collector_success\{collector="(\w+)"\} (\S+)', metrics, re.MULTILINE))


@pytest.fixture(scope="module")
def prometheus() -> Host:
    """The machine of the services, with a Prometheus that scrapes every exporter over TLS and with its password."""
    services = connect(SERVICES)
    run(services, "install -d -m 0755 /etc/prometheus/scraped && printf %%s %s > /etc/prometheus/password", PASSWORD)
    jobs = []
    for name in HOSTS:
        for exporter, port in PORTS.items():
            authority = f"/etc/prometheus/scraped/{name}-{exporter}.crt"
            certificate = run(connect(name), f"cat /etc/holdfast-exporters/{exporter}/tls.crt")
            run(services, f"printf %%s %s > {authority}", certificate)
            job: dict[str, Any] = {
                "job_name": f"{name}-{exporter}",
                "scheme": "https",
                "tls_config": {"ca_file": authority, "server_name": name},
                "static_configs": [{"targets": [f"{name}:{port}"]}],
            }
            if exporter != "redis":
                job["basic_auth"] = {"username": "prometheus", "password_file": "/etc/prometheus/password"}
            jobs.append(job)
    config = {"global": {"scrape_interval": "5s", "scrape_timeout": "5s"}, "scrape_configs": jobs}
    run(services, "printf %%s %s > /etc/prometheus/prometheus.yml", json.dumps(config))
    run(services, "promtool check config /etc/prometheus/prometheus.yml")
    run(services, "systemctl restart prometheus")
    return services


def ask(prometheus: Host, path: str) -> Any:
    done = prometheus.run("curl -sS --fail-with-body %s", f"http://127.0.0.1:9090/api/v1/{path}")
    return json.loads(done.stdout)["data"] if done.rc == 0 else None


def test_every_target_is_up(prometheus: Host) -> None:
    def down() -> list[str]:
        targets = (ask(prometheus, "targets") or {"activeTargets": []})["activeTargets"]
        seen = {each["labels"]["job"]: each for each in targets if each["health"] == "up"}
        wanted = {f"{name}-{exporter}" for name in HOSTS for exporter in PORTS}
        errors = [f"{each['labels']['job']}: {each['health']} {each['lastError']}" for each in targets]
        return [] if set(seen) == wanted else errors or ["no answer"]

    deadline = time.monotonic() + 60
    while errors := down():
        assert time.monotonic() < deadline, errors
        time.sleep(1)


def test_what_they_look_at_is_there(prometheus: Host) -> None:
    running = 'node_systemd_unit_state{state="active",name="cron.service"}'
    for query, expected in (("pg_up", 2), ("redis_up", 2), (running, 4)):
        found = ask(prometheus, f"query?query={quote(query)}")["result"]
        assert [each["value"][1] for each in found] == ["1"] * expected, query
    # What health checks found comes through the textfile collector, of the package and of the archive alike.
    found = wait_for("holdfast's own", lambda: ask(prometheus, "query?query=holdfast_health_status")["result"], 120)
    assert {each["metric"]["job"] for each in found} == {
        f"{name}-{each}" for name in HOSTS for each in ("node", "edge")
    }


def test_metrics_are_well_formed(name: str, prometheus: Host) -> None:
    host = connect(name)
    ours = run(host, "cat /var/lib/prometheus/textfiles/*.prom")
    assert "holdfast_health_status" in ours
    done = prometheus.run("printf %%s %s | promtool check metrics", ours)
    assert (done.rc, done.stdout + done.stderr) == (0, "")
    for exporter in PORTS:
        # 3 is about names that others have given; 1 would be something that is no metric.
        metrics = scrape(host, exporter)
        path = f"/tmp/{name}-{exporter}.prom"
        copy = ["docker", "exec", "-i", SERVICES, "sh", "-c", f"cat > {path}"]
        subprocess.run(copy, input=metrics.encode(), check=True)
        assert prometheus.run(f"promtool check metrics < {path}").rc in (0, 3), exporter


def test_nobody_gets_anything_without_the_password_or_without_tls(name: str) -> None:
    host = connect(name)
    for exporter, port in PORTS.items():
        plain = host.run(f"curl -sS -o /dev/null -w %{{http_code}} http://127.0.0.1:{port}/metrics")
        assert plain.stdout in ("000", "400"), exporter
        if exporter != "redis":
            code = curl(host, f"https://127.0.0.1:{port}/metrics", "-o /dev/null", "-w '%%{http_code}'")
            assert code == "401", exporter
    seen = run(
        host, "ps -eo args; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; cat /etc/systemd/system/*.service"
    )
    assert PASSWORD not in seen
    assert "redis scrape" not in seen


def test_units_are_hardened_and_live_on_after_scrapes(name: str, prometheus: Host) -> None:
    host = connect(name)
    for exporter in PORTS:
        unit = f"holdfast-exporter-{exporter}.service"
        before = properties(host, unit, "MainPID", "NRestarts")
        scrape(host, exporter)
        after = properties(host, unit, "ActiveState", "MainPID", "NRestarts", "User")
        assert after == {**before, "ActiveState": "active", "User": f"exporter-{exporter}"}
        exposure = re.search(
            r"exposure level for \S+: ([0-9.]+)", run(host, f"systemd-analyze security --no-pager {unit}")
        )
        assert exposure, unit
        assert float(exposure[1]) <= MOST_EXPOSED, unit
        assert run(host, f"ps -o user:40= -p {after['MainPID']}").strip() == f"exporter-{exporter}"
    for package in ("node", "postgres", "redis", "blackbox", "process"):
        assert host.run(f"systemctl is-enabled prometheus-{package}-exporter").stdout.strip() == "masked"


def test_every_collector_succeeds_that_does_so_without_the_sandbox(name: str) -> None:
    host = connect(name)
    listen = "127.0.0.1:9199"
    command = f"prometheus-node-exporter --collector.systemd --web.listen-address={listen}"
    run(host, f"systemd-run --quiet --unit=free {command}")
    try:
        free = wait_for("it", lambda: host.run(f"curl -sS --fail http://{listen}/metrics").stdout, 20)
    finally:
        run(host, "systemctl stop free")
    expected = collectors(free)
    assert sum(value == "1" for value in expected.values()) > 20
    assert collectors(scrape(host, "node")) == expected
    filesystems = r"^node_filesystem_size_bytes\{[^}]*mountpoint=\"([^\"]+)\""
    assert re.findall(filesystems, scrape(host, "node"), re.MULTILINE) == re.findall(filesystems, free, re.MULTILINE)


def test_files_are_for_root_and_for_the_account_alone(name: str) -> None:
    host = connect(name)
    lines = run(host, "find /etc/holdfast-exporters -mindepth 1 -printf '%m %u %g %P\\n'").splitlines()
    assert len(lines) > 20
    for line in lines:
        mode, user, group, path = line.split(" ", 3)
        assert user == "root"
        assert group == f"exporter-{path.split('/')[0]}", line
        assert int(mode[-1]) == 0 or path.endswith("/tls.crt"), line
    assert run(host, "runuser -u exporter-redis -- cat /etc/holdfast-exporters/node/web.yml 2>&1 || true").endswith(
        "denied\n"
    )


# -- archives ---------------------------------------------------------------------------------------------------------


def site(limit: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The playbook once more, with another version declared."""
    inventory = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "inventory")
    argv = ["ansible-playbook", "-i", str(inventory), "holdfast.ops.site", "--tags", "exporters", "--limit", limit]
    argv += ["-e", json.dumps(variables)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def edge(host: Host) -> tuple[str, list[str]]:
    """The version that answers, and those that lie there."""
    version = re.search(r'node_exporter_build_info\{.*version="([^"]+)"', scrape(host, "edge"))
    assert version
    return version[1], run(host, "ls /opt/holdfast-exporters/edge").split()


def test_upgrade_wrong_checksum_and_way_back() -> None:
    name = HOSTS[0]
    host, services = connect(name), connect(SERVICES)
    assert edge(host) == ("1.5.0", ["1.5.0", "current"])
    done = site(name, edge_version="1.9.0")
    assert done.returncode == 0, done.stdout
    assert edge(host) == ("1.9.0", ["1.5.0", "1.9.0", "current"])

    done = site(name, edge_version="1.5.0", edge_checksum="0" * 64)
    assert done.returncode != 0
    # Ansible folds long lines, some in the middle of a sentence.
    assert "is not what was declared: its SHA-256 is" in " ".join((done.stdout + done.stderr).split())
    assert edge(host) == ("1.9.0", ["1.5.0", "1.9.0", "current"])

    asked = run(services, "journalctl -u mirror -o cat").count("GET")
    done = site(name)
    assert done.returncode == 0, done.stdout
    assert edge(host) == ("1.5.0", ["1.5.0", "1.9.0", "current"])
    assert run(services, "journalctl -u mirror -o cat").count("GET") == asked  # nothing was downloaded
