# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verifier's tests of every scenario ask hosts for: databases, units, the job log, what the sink was sent."""

from __future__ import annotations

import json
import time
from typing import Any, Callable, TypeVar

import testinfra
from testinfra.host import Host

Found = TypeVar("Found")

JOBS_LOG = "/var/log/holdfast/jobs.jsonl"


def connect(name: str) -> Host:
    """A test host as root: what is asked is how things are, not what the login may see."""
    return testinfra.get_host(f"docker://{name}")


def wait_for(what: str, look: Callable[[], Found], timeout: float, interval: float = 0.5) -> Found:
    """Look until there is something (a value that is true), and return it.

    Raises:
        AssertionError: naming what was waited for, and what was seen last.
    """
    deadline = time.monotonic() + timeout
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout:g} s; seen last: {found!r}")
        time.sleep(interval)


def run(host: Host, command: str, *arguments: str, status: int = 0) -> str:
    """Run a command (a format for quoted arguments, as testinfra has it); its output, when it ends with `status`."""
    done = host.run(command, *arguments)
    assert done.rc == status, f"{done.command}: exit {done.rc}, not {status}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


def sql(host: Host, database: str, statement: str) -> str:
    """Rows as psql prints them unaligned, from the server's own account."""
    psql = "runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1"
    return run(host, f"{psql} -d %s -c %s", database, statement).strip()


def now(host: Host) -> float:
    """The host's clock, which is the machine's."""
    return float(run(host, "date +%s.%N"))


def properties(host: Host, unit: str, *names: str) -> dict[str, str]:
    """Properties of a unit, as `systemctl show` says them."""
    lines = run(host, f"systemctl show --property={','.join(names)} -- %s", unit).splitlines()
    return dict(line.partition("=")[::2] for line in lines)


def entries(host: Host, **wanted: Any) -> list[dict[str, Any]]:
    """Lines of the job log that have these values, oldest first; a line that is being written is not there yet."""
    text = run(host, f"cat {JOBS_LOG} 2>/dev/null || true")
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in lines if all(line.get(name) == value for name, value in wanted.items())]


def sha256sums(host: Host, directory: str) -> str:
    """Names and hashes of all files below a directory."""
    return run(host, "cd %s && find . -type f -print0 | sort -z | xargs -0r sha256sum", directory)


class Sink:
    """What was sent to the machine beside the hosts."""

    def __init__(self, services: Host) -> None:
        self._host = services

    def requests(self, path: str = "") -> list[dict[str, Any]]:
        """Requests so far, oldest first: `at`, `method`, `path`, `headers`, `body`, `json`."""
        text = run(self._host, "cat /var/lib/sink/requests.jsonl 2>/dev/null || true")
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if line["path"].startswith(path)]

    def events(self, since: float = 0.0, **wanted: Any) -> list[dict[str, Any]]:
        """Documents of the webhook that have these values, received since then."""
        documents = [line["json"] for line in self.requests("/webhook") if line["at"] >= since]
        return [each for each in documents if all(each.get(name) == value for name, value in wanted.items())]

    def wait_for_event(self, timeout: float, since: float = 0.0, **wanted: Any) -> dict[str, Any]:
        """The first such event, as soon as it has come."""
        what = " ".join(f"{name}={value}" for name, value in wanted.items())
        return wait_for(f"a notification with {what}", lambda: self.events(since, **wanted), timeout)[0]


class Store:
    """The object store beside the hosts, asked directly: not what we believe to have written."""

    def __init__(self, services: Host) -> None:
        import boto3
        from botocore.config import Config

        (address,) = run(services, "hostname --all-ip-addresses").split()
        self._client = boto3.client(
            "s3",
            endpoint_url=f"http://{address}:8333",
            region_name="us-east-1",
            aws_access_key_id="AKMOLECULE",
            aws_secret_access_key="molecules-secret",
            config=Config(s3={"addressing_style": "path"}),
        )

    def keys(self, prefix: str, bucket: str = "backups") -> list[str]:
        """Names of all objects below a prefix, sorted."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return sorted(each["Key"] for page in pages for each in page.get("Contents", []))
