# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The OmniDoc host of the scenario: used as its users use it, and looked at as a whole."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path

from testinfra.host import Host

from .hosts import connect, run, sha256sums, sql, wait_for

HOST, SERVICES = "hf-omnidoc-12", "hf-omnidoc-services"
IDENTITY = "/etc/holdfast/identity.txt"
REDIS = "REDISCLI_AUTH=redis-of-omnidoc redis-cli"


def expectation() -> Path:
    """Where one step leaves for the next how the host was before it was lost (`host`), when that was (`at`), and
    which machine it was (`machine`)."""
    return Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "expected.json")


def stamp(seconds: float) -> str:
    """A moment as the job log and the catalogue write it."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def order(host: Host, title: str) -> int:
    """Order a document through nginx, and wait until the worker has written it."""
    body = json.dumps({"title": title, "text": f"The text of {title}."})
    post = "curl -sS --fail-with-body -H 'Content-Type: application/json' -d %s http://127.0.0.1/api/documents"
    number = int(json.loads(run(host, post, body))["id"])

    def written() -> bool:
        shown = json.loads(run(host, "curl -sS --fail-with-body %s", f"http://127.0.0.1/api/documents/{number}"))
        return shown["sha256"] is not None

    wait_for(f"document {number} from the worker", written, 60)
    return number


def snapshot(host: Host) -> dict[str, str]:
    """All that has to survive, as the database, Redis and the file system tell it."""
    return {
        "rows": sql(host, "omnidoc", "SELECT json_agg(d ORDER BY id) FROM documents AS d"),
        "next": sql(host, "omnidoc", "SELECT last_value, is_called FROM documents_id_seq"),
        "owner": sql(host, "omnidoc", "SELECT tableowner FROM pg_tables WHERE tablename = 'documents'"),
        "redis": run(host, f"{REDIS} GET omnidoc:generated").strip(),
        "documents": sha256sums(host, "/srv/omnidoc/documents"),
        "configuration": sha256sums(host, "/etc/omnidoc"),
        "modes": run(host, "find /srv/omnidoc/documents /etc/omnidoc -printf '%M %u %g %p\\n' | sort -k4"),
    }


def place_identity(host: Host) -> None:
    """Bring the private key, as somebody takes it out of the safe for a restore."""
    key = (Path(__file__).parents[1] / "omnidoc" / "files" / "identity.txt").read_text(encoding="ascii")
    run(host, f"umask 077 && printf %%s %s > {IDENTITY}", key)


def machine(host: Host) -> str:
    """What tells two hosts of one name apart."""
    return run(host, "cat /etc/machine-id").strip()


def the_host() -> Host:
    """The host, as root."""
    return connect(HOST)
