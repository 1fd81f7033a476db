# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host makes of its exporters: units, hashes, archives, certificates, and what a scrape has to show."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import io
import json
import os
import shutil
import ssl
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    AuthenticationFailed,
    Corrupted,
    NotProved,
    Refused,
    Unavailable,
    Unsupported,
)
from ansible_collections.holdfast.ops.plugins.module_utils._exporters import (
    _apply,
    _archives,
    _certificates,
    _machine,
    _passwords,
    _place,
    _scrape,
    _unit,
)
from ansible_collections.holdfast.ops.plugins.module_utils._exporters._archives import Version
from ansible_collections.holdfast.ops.plugins.module_utils._exporters._catalogue import KINDS
from ansible_collections.holdfast.ops.plugins.module_utils._exporters._model import Exporter
from ansible_collections.holdfast.ops.plugins.module_utils._exporters._parse import parse_exporters
from ansible_collections.holdfast.ops.plugins.module_utils._exporters._place import Place


def declared(**values: Any) -> Exporter:
    (exporter,) = parse_exporters([values])
    return exporter


# -- the unit ---------------------------------------------------------------------------------------------------------


def unit_of(exporter: Exporter, program: str = "/usr/bin/exporter") -> list[str]:
    kind = KINDS[exporter.kind]
    text = _unit.unit(exporter, kind, program=program, directory="/etc/x", options=exporter.options)
    return text.splitlines()


def test_a_unit_starts_the_program_as_its_own_account_with_its_own_files() -> None:
    lines = unit_of(declared(name="box", kind="blackbox", listen="0.0.0.0:9115", tls="self_signed"))
    assert "User=exporter-box" in lines
    assert (
        'ExecStart=/usr/bin/exporter "--config.file=/etc/x/config.yml" "--web.listen-address=0.0.0.0:9115"'
        ' "--web.config.file=/etc/x/web.yml"'
    ) in lines


def test_nothing_in_an_argument_means_anything_to_systemd() -> None:
    assert _unit.quoted('--a="%n" $HOME\\x') == '"--a=\\"%%n\\" $$HOME\\\\x"'


def test_exceptions_from_the_hardening_are_those_of_the_catalogue() -> None:
    ordinary, node = unit_of(declared(name="r", kind="redis")), unit_of(declared(name="n", kind="node"))
    for line in ("ProcSubset=pid", "ProtectClock=yes", "ProtectProc=invisible", "ProtectHome=yes"):
        assert line in ordinary
        assert line not in node
    assert [line for line in node if line.startswith("SystemCallFilter=")] == [
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged @resources",
        "SystemCallFilter=adjtimex clock_adjtime",  # after what is denied, or it would be denied again
    ]
    for lines in (ordinary, node):
        for line in (
            "CapabilityBoundingSet=",
            "NoNewPrivileges=yes",
            "SystemCallErrorNumber=EPERM",
            "ProtectSystem=strict",
        ):
            assert line in lines


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd to judge units")
@pytest.mark.parametrize("kind", KINDS)
def test_systemd_finds_little_that_a_unit_of_any_kind_is_exposed_to(kind: str, tmp_path: Path) -> None:
    values = {"name": "x", "kind": kind}
    path = tmp_path / "holdfast-exporter-x.service"
    path.write_text("\n".join(unit_of(declared(**values), program="/bin/true")))
    argv = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=25", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
    assert "Overall exposure level" in done.stdout


def test_secrets_stand_in_the_environment_alone() -> None:
    far = {"login_host": "db", "login_user": "u"}
    exporter = declared(name="pg", kind="postgres", login_password='a"b\\c$d`e', **far)
    variables = _unit.environment(exporter, KINDS["postgres"], exporter.options)
    assert variables["DATA_SOURCE_PASS"] == 'a"b\\c$d`e'
    assert 'DATA_SOURCE_PASS="a\\"b\\\\c\\$d\\`e"' in _unit.environment_file(variables).splitlines()
    text = "\n".join(unit_of(exporter))
    assert 'a"b' not in text
    assert "EnvironmentFile=/etc/x/environment" in text
    exporter = declared(name="r", kind="redis", login_password="db-secret", basic_auth={"u": "web-secret"})
    variables = _unit.environment(exporter, KINDS["redis"], exporter.options)
    assert variables["REDIS_EXPORTER_BASIC_AUTH_PASSWORD"] == "web-secret"
    text = "\n".join(unit_of(exporter))
    assert "db-secret" not in text
    assert "web-secret" not in text
    assert "EnvironmentFile=/etc/x/environment" in text


@pytest.mark.parametrize(
    "options,addresses",
    [
        ({}, ["redis://127.0.0.1:6379"]),
        ({"address": "db:6380"}, ["redis://db:6380"]),
        ({"address": "unix:///run/redis.sock"}, ["unix:///run/redis.sock"]),
        ({"login_user": "a b"}, ["redis://127.0.0.1:6379", "redis://a%20b@127.0.0.1:6379"]),
    ],
)
def test_the_password_of_redis_is_for_its_own_server_alone(options: dict[str, str], addresses: list[str]) -> None:
    """Redis' exporter sends REDIS_PASSWORD to whichever server /scrape?target=… names, and anybody may ask that."""
    exporter, kind = declared(name="r", kind="redis", login_password="db-secret", **options), KINDS["redis"]
    assert "db-secret" not in str(_unit.environment(exporter, kind, exporter.options))
    assert json.loads(_unit.config_file(kind, exporter.options) or "") == dict.fromkeys(addresses, "db-secret")
    assert "--redis.password-file=/etc/x/config.yml" in _unit.arguments(exporter, kind, exporter.options, "/etc/x")
    without = declared(name="r", kind="redis", **options)
    assert _unit.config_file(kind, without.options) is None
    assert "password" not in str(_unit.arguments(without, kind, without.options, "/etc/x"))


def test_probes_of_icmp_may_be_sent() -> None:
    """Debian 12 leaves net.ipv4.ping_group_range as the kernel has it, so that nobody without the capability pings."""
    assert "AmbientCapabilities=CAP_NET_RAW" in unit_of(declared(name="box", kind="blackbox"))
    assert "AmbientCapabilities=" in unit_of(declared(name="r", kind="redis"))


def test_on_a_socket_postgresql_is_asked_without_a_password() -> None:
    exporter = declared(name="pg", kind="postgres")
    assert _unit.environment(exporter, KINDS["postgres"], exporter.options) == {
        "DATA_SOURCE_NAME": "host=/var/run/postgresql port=5432 user=exporter-pg dbname=postgres sslmode=disable"
    }
    far = declared(name="pg", kind="postgres", login_host="db", login_user="u", login_password="p")
    assert _unit.environment(far, KINDS["postgres"], far.options) == {
        "DATA_SOURCE_URI": "db:5432/postgres?sslmode=require",
        "DATA_SOURCE_USER": "u",
        "DATA_SOURCE_PASS": "p",
    }


# -- hashes -----------------------------------------------------------------------------------------------------------


def test_hashes_are_bcrypt() -> None:
    # A vector of crypt_blowfish's own tests.
    assert _passwords.matches("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW")
    assert not _passwords.matches("U*V", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW")


def test_a_hash_that_fits_stays_and_another_password_gets_another() -> None:
    first = _passwords.hashes({"a": "päss", "b": "word"}, {})
    assert _passwords.hashes({"a": "päss", "b": "word"}, first) == first
    second = _passwords.hashes({"a": "päss", "b": "other"}, first)
    assert second["a"] == first["a"]
    assert second["b"] != first["b"]
    assert _passwords.hashes({"a": "päss"}, {"a": "no hash"})["a"].startswith("$2b$")


# -- archives ---------------------------------------------------------------------------------------------------------

PROGRAM = "node_exporter"


@functools.cache  # the time stands in it, and with it another checksum
def packed(version: str, program: str = PROGRAM) -> bytes:
    """An archive in the layout of upstream's."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in (("LICENSE", b"free"), (program, f"#!/bin/sh\necho {version}\n".encode())):
            member = tarfile.TarInfo(f"{PROGRAM}-{version}.linux-amd64/{name}")
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, list[str]]]:
    """A web server: its address, its directory, and the paths that were asked for."""
    directory = tmp_path_factory.mktemp("mirror")
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(directory))

        def log_message(self, *arguments: Any) -> None:
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", directory, asked
    server.shutdown()
    server.server_close()


def version_of(mirror: tuple[str, Path, list[str]], place: Path, version: str, checksum: str | None = None) -> Version:
    address, directory, _asked = mirror
    content = packed(version)
    (directory / f"{version}.tar.gz").write_bytes(content)
    found = checksum or hashlib.sha256(content).hexdigest()
    return Version(str(place), version, f"{address}/{version}.tar.gz", "", found, PROGRAM)


def test_upgrade_and_way_back(mirror: Any, tmp_path: Path) -> None:
    for number in ("1.0", "2.0"):
        version = version_of(mirror, tmp_path, number)
        assert not version.is_here
        version.fetch()
        assert version.is_here
        assert not version.is_used
        version.switch()
        assert version.is_used
        assert Path(version.linked).read_text() == f"#!/bin/sh\necho {number}\n"
        assert os.access(version.linked, os.X_OK)
    back = version_of(mirror, tmp_path, "1.0")
    asked = len(mirror[2])
    assert back.is_here
    back.switch()
    assert os.readlink(tmp_path / "current") == "1.0"
    assert len(mirror[2]) == asked  # nothing was downloaded
    assert sorted(os.listdir(tmp_path)) == ["1.0", "2.0", "current"]


def test_a_wrong_checksum_leaves_the_version_in_use_and_nothing_else(mirror: Any, tmp_path: Path) -> None:
    first = version_of(mirror, tmp_path, "1.0")
    first.fetch()
    first.switch()
    wrong = version_of(mirror, tmp_path, "2.0", "0" * 64)
    with pytest.raises(Corrupted, match=r"its SHA-256 is [0-9a-f]{64}, and not 0{64}"):
        wrong.fetch()
    assert sorted(os.listdir(tmp_path)) == ["1.0", "current"]
    assert first.is_used
    assert first.is_here


def test_a_version_that_was_damaged_or_declared_with_another_checksum_is_not_here(mirror: Any, tmp_path: Path) -> None:
    version = version_of(mirror, tmp_path, "1.0")
    version.fetch()
    assert not replace(version, checksum="0" * 64).is_here
    Path(version.executable).write_text("something else")
    assert not version.is_here
    version.fetch()
    assert version.is_here


def test_what_cannot_be_fetched_is_told(mirror: Any, tmp_path: Path) -> None:
    version = version_of(mirror, tmp_path, "1.0")
    with pytest.raises(Unavailable, match="cannot be downloaded: 404"):
        replace(version, url=f"{mirror[0]}/nothing.tar.gz").fetch()
    with pytest.raises(Unavailable, match="cannot be downloaded"):
        replace(version, path=str(tmp_path / "nothing")).fetch()
    content = packed("1.0", program="something")
    (mirror[1] / "other.tar.gz").write_bytes(content)
    other = replace(version, url=f"{mirror[0]}/other.tar.gz", checksum=hashlib.sha256(content).hexdigest())
    with pytest.raises(Corrupted, match="holds no program node_exporter"):
        other.fetch()
    assert os.listdir(tmp_path) == []


def test_a_program_need_not_be_packed_and_may_lie_on_the_host(tmp_path: Path) -> None:
    program = b"#!/bin/sh\n"
    (tmp_path / "given").write_bytes(program)
    checksum = hashlib.sha256(program).hexdigest()
    version = Version(str(tmp_path / "opt"), "1", "http://x/program", str(tmp_path / "given"), checksum, "cadvisor")
    version.fetch()
    assert version.is_here
    assert os.access(version.executable, os.X_OK)


def test_the_last_two_before_are_kept(mirror: Any, tmp_path: Path) -> None:
    for number in ("1.0", "2.0", "3.0", "4.0"):
        version = version_of(mirror, tmp_path, number)
        version.fetch()
        version.switch()
        os.utime(version.home, (int(number[0]), int(number[0])))
    (tmp_path / "5.0.unfinished").mkdir()
    outdated = _archives.outdated(str(tmp_path), "4.0")
    assert outdated == [str(tmp_path / "5.0.unfinished"), str(tmp_path / "1.0")]


def test_an_architecture_without_a_checksum_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    upstream = KINDS["cadvisor"].upstream
    exporter = declared(name="c", kind="cadvisor", install_method="archive", archive={"version": "0.53.0"})
    assert upstream is not None
    assert exporter.archive is not None
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(Refused, match=r"exporter c: the checksum of version 0\.53\.0 for arm64 is not known"):
        Version.of(exporter, exporter.archive, upstream, str(tmp_path))
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(Unsupported, match="riscv64"):
        Version.of(exporter, exporter.archive, upstream, str(tmp_path))


# -- programs ---------------------------------------------------------------------------------------------------------


def place_of(exporter: Exporter, tmp_path: Path, says: str) -> Place:
    program = tmp_path / "exporter"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{says}\nEND\n")
    program.chmod(0o755)
    return Place(exporter, KINDS[exporter.kind], exporter.options, None, str(program), None, restart=True)


def test_a_program_that_does_not_know_a_flag_is_refused_in_one_sentence(tmp_path: Path) -> None:
    exporter = declared(name="r", kind="redis", basic_auth={"u": "p"})
    old = place_of(exporter, tmp_path, "  -web.listen-address string\n    \tAddress to listen on")
    with pytest.raises(Unsupported) as caught:
        _apply.prepare(old)
    said = "exporter r: exporter on this host does not know --basic-auth-username"
    assert caught.value.message == f"{said}, so it cannot ask for passwords (basic_auth)."
    _apply.prepare(place_of(exporter, tmp_path, "  -web.listen-address string\n  -basic-auth-username string"))


def test_flags_are_known_as_kingpin_and_as_go_write_them(tmp_path: Path) -> None:
    exporter = declared(name="n", kind="node", collectors=["cpu"], no_collectors=["zfs"])
    for says in (
        "--[no-]collector.systemd --[no-]collector.cpu --[no-]collector.zfs --web.listen-address=:9100 ...",
        "--collector.systemd --collector.cpu --collector.zfs --no-collector.zfs --web.listen-address=:9100",
    ):
        _apply.prepare(place_of(exporter, tmp_path, says))
    with pytest.raises(Unsupported, match=r"does not know --collector\.cpu and"):
        _apply.prepare(place_of(exporter, tmp_path, "--collector.cpu.info --collector.systemd --web.listen-address"))


# -- scrapes ----------------------------------------------------------------------------------------------------------

METRICS = """# HELP node_scrape_collector_success whether
# TYPE node_scrape_collector_success gauge
node_scrape_collector_success{collector="cpu"} 1
node_scrape_collector_success{collector="zfs"} 0
pg_up 0
pg_scrape_collector_success{collector="wal",database="a\\"b"} 1
pg_scrape_collector_success{collector="locks"} 0
"""


def test_samples_are_read_with_their_labels() -> None:
    assert list(_scrape.samples(METRICS, "pg_up")) == [({}, 0.0)]
    assert [labels["collector"] for labels, _value in _scrape.samples(METRICS, "pg_scrape_collector_success")] == [
        "wal",
        "locks",
    ]


def test_a_collector_that_was_asked_for_has_to_succeed() -> None:
    node = KINDS["node"]
    others = ["diskstats", "filefd", "filesystem", "loadavg", "meminfo", "netdev", "stat", "systemd", "textfile"]
    others += ["time", "timex", "uname", "vmstat"]
    with pytest.raises(NotProved, match="the collector diskstats fails; the collector filefd fails"):
        _scrape.look(declared(name="n", kind="node"), node, METRICS)
    fine = declared(name="n", kind="node", no_collectors=others)
    assert _scrape.look(fine, node, METRICS) == []
    with pytest.raises(NotProved, match="exporter n: the collector zfs fails"):
        _scrape.look(declared(name="n", kind="node", no_collectors=others, collectors=["zfs"]), node, METRICS)


def test_a_server_that_is_away_is_told_and_is_no_failure() -> None:
    assert _scrape.look(declared(name="pg", kind="postgres"), KINDS["postgres"], METRICS) == [
        "exporter pg: the server does not answer it.",
        "exporter pg: the collector locks fails.",
    ]
    assert _scrape.look(declared(name="pg", kind="postgres"), KINDS["postgres"], "pg_up 1\n") == []


@pytest.fixture(scope="module")
def exporter_with_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Exporter, str, dict[str, Any]]]:
    """Something that answers as an exporter does: what is declared of it, its certificate, and how it behaves."""
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "crt", directory / "key"
    made = _certificates.make("127.0.0.1")
    certificate.write_text(made[0])
    key.write_text(made[1])
    behaviour: dict[str, Any] = {"asks": True, "status": 200}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            login = "Basic " + base64.b64encode(b"prometheus:secret").decode()
            refused = behaviour["asks"] and self.headers.get("Authorization") != login
            self.send_response(401 if refused else behaviour["status"])
            self.end_headers()
            self.wfile.write(b"" if refused else b"node_load1 0.5\n")

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    listen = f"127.0.0.1:{server.server_address[1]}"
    exporter = declared(name="n", kind="node", listen=listen, tls="self_signed", basic_auth={"prometheus": "secret"})
    yield exporter, str(certificate), behaviour
    server.shutdown()
    server.server_close()


def test_a_scrape_over_tls_with_a_password(exporter_with_tls: Any) -> None:
    exporter, certificate, behaviour = exporter_with_tls
    assert _scrape.scrape(exporter, certificate, lambda: True) == "node_load1 0.5\n"
    with pytest.raises(AuthenticationFailed):
        _scrape.scrape(replace(exporter, users={"prometheus": "wrong"}), certificate, lambda: True)
    behaviour["asks"] = False
    with pytest.raises(NotProved, match="gives its metrics to those who have no password"):
        _scrape.scrape(exporter, certificate, lambda: True)
    behaviour.update(asks=True, status=500)
    with pytest.raises(NotProved, match="answers with 500"):
        _scrape.scrape(exporter, certificate, lambda: True)
    behaviour["status"] = 200


def test_only_the_certificate_that_it_should_have_is_accepted(exporter_with_tls: Any, tmp_path: Path) -> None:
    exporter, _certificate, _behaviour = exporter_with_tls
    other = tmp_path / "other.crt"
    other.write_text(_certificates.make("127.0.0.1")[0])
    with pytest.raises(Exception, match="no TLS with"):
        _scrape.scrape(exporter, str(other), lambda: True)


def test_one_that_has_ended_is_not_waited_for() -> None:
    exporter = declared(name="n", kind="node", listen="127.0.0.1:1")
    with pytest.raises(Unavailable, match=r"does not answer on 127\.0\.0\.1:1"):
        _scrape.scrape(exporter, None, lambda: True)


def test_a_certificate_is_new_before_the_old_one_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tmp_path / "crt", tmp_path / "key"
    assert not _certificates.is_good(str(certificate), str(key))
    made = _certificates.make("[::]")
    certificate.write_text(made[0])
    key.write_text(made[1])
    assert _certificates.is_good(str(certificate), str(key))
    monkeypatch.setattr(_certificates, "_RENEWED_BEFORE", _certificates.DAYS * 86400)
    assert not _certificates.is_good(str(certificate), str(key))


def test_the_unit_of_a_package_is_remembered_by_what_took_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a package to an archive, and then away: nobody else would let the package's own unit start again."""
    for name in ("ETC", "UNITS"):
        monkeypatch.setattr(_place, name, str(tmp_path))
    packaged, unit = declared(name="node", kind="node"), "prometheus-node-exporter.service"
    archived = declared(name="node", kind="node", install_method="archive")
    assert _place._declared(archived, KINDS["node"])["package_unit"] == ""
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / _place.DECLARED).write_text(json.dumps(_place._declared(packaged, KINDS["node"])))
    assert _place._declared(archived, KINDS["node"])["package_unit"] == ""  # somebody has unmasked it
    (tmp_path / unit).symlink_to("/dev/null")
    assert _place._declared(archived, KINDS["node"])["package_unit"] == unit


def test_a_version_that_is_fetched_anew_is_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same name with another checksum: what runs would be the old program, until the second run."""
    for name in ("ETC", "OPT", "UNITS"):
        monkeypatch.setattr(_place, name, str(tmp_path))
    running = _machine.State(active=True, enabled=True, restarts=0, pid=0)
    monkeypatch.setattr(_machine, "state_of", lambda _unit: running)
    monkeypatch.setattr(_machine, "has_account", lambda _name: True)
    archive = {"version": "9.9.9", "checksum": "0123456789abcdef" * 4}
    exporter = declared(name="node", kind="node", install_method="archive", archive=archive)
    monkeypatch.setattr(Version, "is_here", True)
    monkeypatch.setattr(Version, "is_used", True)
    first = _place.look(exporter, check_mode=True)
    for path, (content, mode) in first.files.items():
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(content)
        os.chmod(path, mode)
    assert not _place.look(exporter, check_mode=True).steps
    monkeypatch.setattr(Version, "is_here", False)
    again = _place.look(exporter, check_mode=True)
    assert again.steps == ["node: fetch version 9.9.9", "node: start it anew"]
    assert again.restart
