# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks as an operator runs them: real ansible-playbook, a real server, and a look at what is really there."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.tests.conftest import DatabaseFactory
from ansible_collections.holdfast.ops.tests.support.dataset import describe, load_realistic
from ansible_collections.holdfast.ops.tests.support.playbook import PlaybookRun, run_playbook
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres
from ansible_collections.holdfast.ops.tests.support.procwatch import ProcessWatch
from ansible_collections.holdfast.ops.tests.support.seaweed import SeaweedFS
from ansible_collections.holdfast.ops.tests.support.servers import short_directory

pytestmark = pytest.mark.ansible


class Site:
    """A directory with a local repository and the declaration of one host, which is this one."""

    def __init__(self, directory: Path, server: EmbeddedPostgres) -> None:
        self.directory = directory
        self.server = server
        self.repository = directory / "repository"
        self.state = directory / "state"
        self.repositories: dict[str, Any] = {"primary": {"type": "local", "path": str(self.repository)}}
        self.components: list[dict[str, Any]] = []

    def declare(self, name: str, database: str, **more: Any) -> dict[str, Any]:
        component = {
            "name": name,
            "engine": "postgresql",
            "database": database,
            "login_unix_socket": str(self.server.socket_dir),
            "login_port": self.server.port,
            "login_user": "postgres",
            "bin_dir": str(self.server.bin_dir),
            "state_dir": str(self.state),
            "repositories": ["primary"],
            **more,
        }
        self.components.append(component)
        return component

    def variables(self) -> dict[str, Any]:
        return {
            "ansible_become": False,
            "holdfast_interpreter": sys.executable,
            "holdfast_repositories": self.repositories,
            "holdfast_components": self.components,
        }

    def run(
        self,
        verb: str,
        *arguments: str,
        others: Mapping[str, Mapping[str, Any]] | None = None,
        env: Mapping[str, str] | None = None,
        **extra_vars: Any,
    ) -> PlaybookRun:
        """Run a playbook of the collection. others: variables of further hosts of the inventory."""
        return run_playbook(
            f"holdfast.ops.{verb}",
            self.directory,
            *arguments,
            extra_vars=extra_vars,
            env=env,
            hosts={"localhost": self.variables(), **(others or {})},
        )

    def stored(self, pattern: str = "*") -> list[Path]:
        """Files of the repository."""
        return sorted(path for path in self.repository.rglob(pattern) if path.is_file())

    def manifests(self, component: str) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted((self.repository / component).glob("manifests/*.json"))]


@pytest.fixture
def site(pg18: EmbeddedPostgres) -> Iterator[Site]:
    directory = short_directory("hf-play-")
    directory.chmod(0o711)  # where we are root, the server's tools are not, and pass through here
    yield Site(directory, pg18)
    shutil.rmtree(directory)


def test_check_mode_looks_and_writes_nothing(site: Site, database: DatabaseFactory) -> None:
    name = database(site.server)
    site.declare("shop", name)
    run = site.run("backup", "--check", "--diff").succeeded()
    assert run.counts["changed"] == 1
    assert run.report[0] == "shop: A backup would be made."
    assert any(line.startswith("+") and name in line for line in run.output.splitlines()), run.output
    assert not site.repository.exists()
    assert not site.state.exists()


def test_a_second_run_within_max_age_does_nothing(site: Site, database: DatabaseFactory) -> None:
    name = database(site.server)
    site.server.psql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id", name)
    site.declare("shop", name, max_age="1h")
    assert site.run("backup").succeeded().counts["changed"] == 1
    stored = site.stored()
    again = site.run("backup").succeeded()
    assert again.counts["changed"] == 0
    assert site.stored() == stored
    (manifest,) = site.manifests("shop")
    said = site.run("catalogue").succeeded().report
    assert any(manifest["id"] in line and "verified: never" in line for line in said), said


def test_lost_and_brought_back(site: Site, database: DatabaseFactory) -> None:
    name = database(site.server)
    load_realistic(site.server, name, rows=300)
    before = describe(site.server, name)
    site.declare("shop", name)
    site.run("backup").succeeded()
    site.server.drop_database(name)
    site.run("restore", holdfast_component="shop").succeeded()
    assert describe(site.server, name) == before


def test_what_is_live_is_only_replaced_when_it_was_named(site: Site, database: DatabaseFactory) -> None:
    name = database(site.server)
    site.server.psql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id", name)
    site.declare("shop", name)
    site.run("backup").succeeded()
    site.server.psql("DELETE FROM t WHERE id > 10", name)
    refused = site.run("restore", holdfast_component="shop", holdfast_restore_confirm="shop").failed()
    assert "[refused]" in refused.report[0], refused.output
    assert site.server.value("SELECT count(*) FROM t", name) == 10
    site.run("restore", holdfast_component="shop", holdfast_restore_confirm=name).succeeded()
    assert site.server.value("SELECT count(*) FROM t", name) == 1000


def test_beside_the_live_one_under_another_name(site: Site, database: DatabaseFactory) -> None:
    name = database(site.server)
    site.server.psql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id", name)
    site.declare("shop", name)
    site.run("backup").succeeded()
    site.server.psql("DELETE FROM t WHERE id > 10", name)
    beside = f"{name}_beside"
    options = {"target_database": beside}
    plan = site.run("restore", "--check", holdfast_component="shop", holdfast_restore_options=options).succeeded()
    assert beside not in site.server.databases()
    assert any(beside in line for line in plan.report), plan.output
    site.run("restore", holdfast_component="shop", holdfast_restore_options=options).succeeded()
    assert site.server.value("SELECT count(*) FROM t", beside) == 1000
    assert site.server.value("SELECT count(*) FROM t", name) == 10


def test_nothing_is_restored_that_was_not_named(site: Site, database: DatabaseFactory) -> None:
    site.declare("shop", database(site.server))
    run = site.run("restore", holdfast_component="", holdfast_set="").failed()
    assert "Say what to restore" in run.output


def test_a_flipped_bit_is_caught(site: Site, database: DatabaseFactory) -> None:
    name = database(site.server)
    site.server.psql("CREATE TABLE t AS SELECT md5(n::text) FROM generate_series(1, 5000) AS n", name)
    site.declare("shop", name)
    site.run("backup").succeeded()
    assert "sound" in site.run("verify").succeeded().report[1]
    dump = max(site.stored(), key=lambda path: path.stat().st_size)
    data = bytearray(dump.read_bytes())
    data[len(data) // 2] ^= 1
    dump.write_bytes(data)
    said = site.run("verify").failed().report
    assert "[corrupted]" in said[0]
    assert dump.name in said[0]
    assert [path.name.rsplit("-", 1)[1] for path in site.stored("*checksum*")] == ["ok.json", "failed.json"]


def test_one_that_fails_stops_no_other(site: Site, database: DatabaseFactory) -> None:
    name = database(site.server)
    site.declare("gone", f"{name}_that_never_was")
    site.declare("shop", name)
    run = site.run("backup").failed()
    assert run.report[0].startswith("gone: FAILED [not_found]"), run.output
    assert run.report[-1] == "1 of 2 FAILED: gone."
    assert len(site.manifests("shop")) == 1
    assert site.manifests("gone") == []


def test_a_set_comes_back_as_it_was_at_one_stamp(site: Site, database: DatabaseFactory) -> None:
    names = {component: database(site.server) for component in ("orders", "stock", "alone")}
    for component, name in names.items():
        site.server.psql("CREATE TABLE t (round int); INSERT INTO t VALUES (1)", name)
        site.declare(component, name, **({} if component == "alone" else {"set": "shop"}))
    site.run("backup", holdfast_set="shop").succeeded()
    (stamp,) = {site.manifests(component)[0]["set"] for component in ("orders", "stock")}
    assert stamp.startswith("shop@")
    assert site.manifests("alone") == []
    site.server.psql("UPDATE t SET round = 2", names["orders"])
    site.run("backup", holdfast_component="orders").succeeded()  # newer, and without its partner
    site.server.psql("UPDATE t SET round = 3", names["orders"])
    run = site.run(
        "restore", holdfast_set="shop", holdfast_restore_confirm={each: names[each] for each in ("orders", "stock")}
    ).succeeded()
    assert len(run.report) == 2, run.output
    assert site.server.value("SELECT round FROM t", names["orders"]) == 1
    assert not [name for name in site.server.databases() if name.startswith(names["alone"]) and name != names["alone"]]


def test_a_database_and_its_documents_come_back_together(site: Site, database: DatabaseFactory) -> None:
    name = database(site.server)
    site.server.psql("CREATE TABLE documents (path text); INSERT INTO documents VALUES ('a.pdf')", name)
    tree = site.directory / "documents"
    tree.mkdir()
    (tree / "a.pdf").write_bytes(os.urandom(2_000_000))
    (tree / "naïve name.txt").write_text("small")
    before = {path.name: path.read_bytes() for path in tree.iterdir()}
    site.declare("db", name, set="omnidoc")
    site.components.append(
        {
            "name": "documents",
            "engine": "files",
            "path": str(tree),
            "set": "omnidoc",
            "repositories": ["primary"],
            "state_dir": str(site.state),
        }
    )
    site.run("backup").succeeded()
    site.server.psql("DELETE FROM documents", name)
    (tree / "a.pdf").unlink()
    confirm = {"db": name, "documents": str(tree)}
    site.run("restore", holdfast_set="omnidoc", holdfast_restore_confirm=confirm).succeeded()
    assert site.server.value("SELECT path FROM documents", name) == "a.pdf"
    assert {path.name: path.read_bytes() for path in tree.iterdir()} == before


class Listener:
    """A port that counts who comes."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.contacts = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _address = self._socket.accept()
            except OSError:
                return
            self.contacts += 1
            connection.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


def test_a_wrong_declaration_is_told_whole_and_contacts_nobody(site: Site) -> None:
    secret = "hunter2-but-longer"
    site.declare("shop", "shop", retantion={"daily": 7}, schedule=750, login_password=secret)
    site.declare("stock", "stock", repositories=["primery"])
    site.repositories["primary"]["secret_key"] = secret
    listener = Listener()
    remote = {
        **site.variables(),
        "ansible_connection": "ssh",
        "ansible_host": "127.0.0.1",
        "ansible_port": listener.port,
    }
    try:
        run = run_playbook("holdfast.ops.backup", site.directory, "-vvv", hosts={"remote": remote}).failed()
        assert listener.contacts == 0
    finally:
        listener.close()
    for problem in (
        "component shop: retantion: unknown key, did you mean retention?",
        "component shop: schedule: is an integer; YAML reads an unquoted 12:30 as the number 750: quote it",
        "component stock: repositories[0]: no such repository is declared, did you mean primary?",
        "repository primary: secret_key: unknown key for type local; it belongs to s3",
    ):
        assert problem in run.output, run.output
    assert secret not in run.output
    assert "unreachable=0" in run.output


def test_hosts_without_components_are_left_alone_and_names_of_other_hosts_are_known(
    site: Site, database: DatabaseFactory
) -> None:
    name = database(site.server)
    site.declare("shop", name)
    variables = site.variables()
    cache = {**variables, "holdfast_components": [{**site.components[0], "name": "cache"}]}
    others: dict[str, dict[str, Any]] = {"web": {}, "cache": cache}
    site.run("backup", others=others, holdfast_component="shop").succeeded()
    assert len(site.manifests("shop")) == 1
    assert site.manifests("cache") == []
    unknown = site.run("backup", others=others, holdfast_component="chop").failed()
    assert "No such component is declared, did you mean shop?" in unknown.output
    nowhere = site.run("backup", others=others, holdfast_hosts="web").failed()
    assert "None of the hosts of this play declares holdfast_components." in nowhere.output


def test_an_option_that_no_module_has_is_refused_with_the_nearest(site: Site, database: DatabaseFactory) -> None:
    site.declare("shop", database(site.server))
    run = site.run("restore", holdfast_component="shop", holdfast_restore_options={"conferm": "x"}).failed()
    assert "postgresql_restore has no option conferm, did you mean confirm?" in run.output


def test_the_runtime_of_the_host_is_used_for_our_tasks(site: Site, database: DatabaseFactory) -> None:
    site.declare("shop", database(site.server))
    venv = site.directory / "venv"
    (venv / "bin").mkdir(parents=True)
    used = site.directory / "used"
    python = venv / "bin" / "python"
    python.write_text(f'#!/bin/sh\ntouch {used}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    site.run("catalogue", holdfast_interpreter="", holdfast_venv_path=str(venv)).succeeded()
    assert used.exists()
    used.unlink()
    site.run("catalogue", holdfast_interpreter="", holdfast_venv_path=str(site.directory / "none")).succeeded()
    assert not used.exists()


def test_no_secret_shows_anywhere(site: Site, database: DatabaseFactory, seaweed: SeaweedFS, bucket: str) -> None:
    import pyrage

    name = database(site.server)
    site.server.psql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id", name)
    identity = pyrage.x25519.Identity.generate()
    key = site.directory / "identity"
    key.touch(mode=0o600)
    key.write_text(f"{identity}\n")
    site.repositories["primary"] = {
        "type": "s3",
        "endpoint_url": seaweed.endpoint,
        "bucket": bucket,
        "region": seaweed.region,
        "access_key": seaweed.admin.access_key,
        "secret_key": seaweed.admin.secret_key,
    }
    component = site.declare(
        "shop",
        name,
        login_host="127.0.0.1",
        login_password=site.server.password,
        encryption={"method": "age", "recipients": [str(identity.to_public())]},
        identity={"age_file": str(key)},
    )
    del component["login_unix_socket"]
    secrets = (site.server.password, seaweed.admin.secret_key, str(identity))
    with ProcessWatch() as seen:
        runs = [
            site.run("backup", "-vvv", "--diff").succeeded(),
            site.run(
                "restore",
                "-vvv",
                "--diff",
                holdfast_component="shop",
                holdfast_restore_options={"target_database": f"{name}_beside"},
            ).succeeded(),
            site.run("verify", "-vvv", env={"ANSIBLE_PIPELINING": "1"}).succeeded(),
        ]
        component["login_password"] = wrong = f"wrong-{site.server.password}"
        runs.append(site.run("backup", "-vvv").failed())
    assert {"pg_dump", "pg_restore"} <= seen.programs()
    assert seen.holding(*secrets, wrong) == []
    assert [secret for secret in (*secrets, wrong) for run in runs if secret in run.output] == []
    assert "[authentication_failed]" in runs[-1].report[0]
    left = [
        path for path in site.directory.rglob("*") if path.is_file() and path.name not in ("inventory.json", "identity")
    ]
    assert [path for path in left for secret in secrets if secret.encode() in path.read_bytes()] == []
    assert all(secret.encode() not in seaweed.get(bucket, key) for key in seaweed.keys(bucket) for secret in secrets)


def test_a_component_can_be_run_in_the_background(site: Site, database: DatabaseFactory) -> None:
    site.declare("shop", database(site.server))
    environment = {"ANSIBLE_ASYNC_DIR": str(site.directory / "async")}
    run = site.run("backup", env=environment, holdfast_async=120, holdfast_poll=1).succeeded()
    assert run.counts["changed"] == 1, run.output
    assert len(site.manifests("shop")) == 1


def test_a_module_called_by_itself_is_the_same_module(site: Site, database: DatabaseFactory) -> None:
    """The action of its name shows progress; arguments, defaults of its group and results are the module's."""
    component = site.declare("shop", database(site.server))
    del component["repositories"], component["engine"]
    repositories = [{"name": "primary", "type": "local", "path": str(site.repository)}]
    options = {**component, "component": component.pop("name")}
    play = {
        "hosts": "all",
        "gather_facts": False,
        "module_defaults": {"group/holdfast.ops.repository": {"repositories": repositories}},
        "tasks": [
            {"holdfast.ops.postgresql_backup": {key: value for key, value in options.items() if key != "name"}},
            {"holdfast.ops.backup_verify": {"component": "shop", "state_dir": str(site.state)}},
        ],
    }
    run = run_playbook([play], site.directory, "-vvv", hosts={"localhost": site.variables()}).succeeded()
    assert run.counts["changed"] == 2
    assert "progress.json" in run.output
    assert len(site.manifests("shop")) == 1
    assert len(site.stored("*-checksum-ok.json")) == 1


def test_a_value_that_was_encrypted_in_place_is_a_value(tmp_path: Path) -> None:
    """What `ansible-vault encrypt_string` makes can stand anywhere in the declaration."""
    password = tmp_path / "vault-password"
    password.write_text("correct horse\n")
    encrypted = subprocess.run(
        [
            *(Path(sys.executable).with_name("ansible-vault"), "encrypt_string", "--vault-password-file", password),
            "hunter2-but-longer",
        ],
        env={**os.environ, "ANSIBLE_HOME": str(tmp_path / "home")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    variables = tmp_path / "variables.yml"
    indented = encrypted.strip().replace("\n", "\n      ")
    variables.write_text(
        "holdfast_repositories:\n  primary:\n    type: s3\n    bucket: b\n"
        f"    access_key: AK\n    secret_key: {indented}\n"
        "holdfast_components:\n  - {name: shop, engine: postgresql, database: shop, repositories: [primary]}\n"
    )
    play = {"hosts": "all", "gather_facts": False, "tasks": [{"holdfast.ops.component": {"verb": "select"}}]}
    run = run_playbook([play], tmp_path, "-vvv", "-e", f"@{variables}", "--vault-password-file", str(password))
    assert "hunter2" not in run.succeeded().output
