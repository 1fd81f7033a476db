# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`holdfast_exporters`: what can be declared, what is refused, and that the catalogue keeps what it promises."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import InvalidDeclaration
from ansible_collections.holdfast.ops.plugins.module_utils._exporters import _unit
from ansible_collections.holdfast.ops.plugins.module_utils._exporters._catalogue import KINDS
from ansible_collections.holdfast.ops.plugins.module_utils._exporters._model import CADVISOR, Exporter
from ansible_collections.holdfast.ops.plugins.module_utils._exporters._parse import COMMON, parse_exporters, ports_of
from ansible_collections.holdfast.ops.plugins.plugin_utils._host import read_host

TOP = Path(__file__).parents[2]
SUM = "0123456789abcdef" * 4
NODE: dict[str, Any] = {"name": "node", "kind": "node"}


def one(**values: Any) -> Exporter:
    (exporter,) = parse_exporters([{**NODE, **values}])
    return exporter


def problems(*exporters: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidDeclaration) as caught:
        parse_exporters(list(exporters))
    return list(caught.value.problems)


def test_nothing_declared_is_nothing() -> None:
    assert parse_exporters(None) == parse_exporters([]) == ()


def test_by_default_only_the_host_itself_can_connect() -> None:
    exporter = one()
    assert (exporter.address, exporter.port, exporter.tls, exporter.users) == ("127.0.0.1", 9100, "none", {})
    assert exporter.archive is None
    assert (exporter.account, exporter.unit) == ("exporter-node", "holdfast-exporter-node.service")


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "127.1.2.3:9100", "localhost:9100", "[::1]:9100"])
def test_a_loopback_address_needs_no_tls(listen: str) -> None:
    assert one(listen=listen).tls == "none"


@pytest.mark.parametrize("listen", ["0.0.0.0:9100", "[::]:9100", "10.0.0.5:9100", "monitoring.example.com:9100"])
def test_whoever_can_be_reached_says_how_it_is_protected(listen: str) -> None:
    assert problems({**NODE, "listen": listen}) == [
        "exporter node: tls: is required where others than this host can connect; self_signed, files, or none if meant"
    ]
    assert one(listen=listen, tls="none").tls == "none"
    assert one(listen=listen, tls="self_signed").tls == "self_signed"


def test_a_password_is_not_sent_in_the_clear() -> None:
    users = {"prometheus": "secret"}
    assert problems({**NODE, "listen": "0.0.0.0:9100", "tls": "none", "basic_auth": users}) == [
        "exporter node: basic_auth: would be sent in the clear; it needs TLS"
    ]
    assert one(basic_auth=users).users == users  # nobody listens on a loopback device
    assert one(listen="0.0.0.0:9100", tls="self_signed", basic_auth=users).users == users


def test_all_problems_are_told_at_once_and_no_value() -> None:
    found = problems(
        {"name": "hush A", "kind": "hush"},
        {"name": "a", "kind": "nod", "colectors": 1},
        {"name": "b", "kind": "redis", "basic_auth": {"one": "hush", "hush:two": "x", "three": 5}},
        {"name": "c", "kind": "mongodb", "install_method": "package", "collectors": ["hush"]},
        {"name": "d", "kind": "redis", "install_method": "archive", "arguments": ["--web.listen-address=hush", "hush"]},
        {"name": "e", "kind": "node", "archive": {"version": 1.9}},
        {"name": "f", "kind": "postgres", "login_host": "hush", "tls": "files", "tls_key": "/hush"},
        {"name": "g", "kind": "node", "install_method": "archive", "archive": {"checksum": "hush"}},
        {"name": "h", "kind": "node", "listen": "hush"},
        {"name": "i", "kind": "redis", "basic_auth": {"u": "hush" * 20}, "address": "a\nhush"},
        {"name": "j", "kind": "node", "install_method": "archive", "archive": {"version": "9.9.9"}},
        {"name": "k", "kind": "cadvisor", "tls": "self_signed", "listen": "0.0.0.0:8081"},
        "hush",
    )  # fmt: skip
    text = "\n".join(found)
    assert "hush" not in text
    for expected in (
        "holdfast_exporters: [0].kind: there is no such kind; there are: ",
        "exporter a: kind: there is no such kind, did you mean node?",
        "exporter a: colectors: unknown key, did you mean collectors?",
        "exporter b: basic_auth: this kind knows one user only",
        "exporter b: basic_auth: a name of a user is empty, too long, no string, or has a colon",
        "exporter b: basic_auth: the password of a user must be a string, and is a number; quote it",
        "exporter c: collectors: unknown key for kind mongodb; it belongs to node, postgres",
        "exporter d: arguments[0]: is set by keys of the exporter (listen, tls, basic_auth and those of its kind)",
        "exporter d: arguments[1]: is no flag, such as --log.level=warn",
        "exporter e: archive.version: must be a string, and is a number; YAML may have changed it: quote it",
        "exporter f: login_host: requires login_user",
        "exporter g: archive.checksum: is no SHA-256, which has 64 hexadecimal digits",
        "exporter h: listen: is not an address and a port; write 127.0.0.1:9100 or 0.0.0.0:9100",
        "exporter i: basic_auth: a password must be of 1 to 72 bytes without line breaks",
        "exporter i: address: must not hold line breaks",
        "exporter j: archive.checksum: is required: this version is not pinned (pinned: 1.10.2, 1.9.1)",
        "exporter k: tls: this kind has no TLS; let it listen on 127.0.0.1 only, behind something that has",
        "holdfast_exporters: [12]: must be a mapping, and is a string",
    ):
        assert expected in text, expected


def test_what_debian_lacks_comes_out_of_an_archive() -> None:
    assert problems({"name": "m", "kind": "mongodb", "install_method": "package"}) == [
        "exporter m: install_method: Debian has no package of this kind; write archive"
    ]
    (exporter,) = parse_exporters([{"name": "m", "kind": "mongodb"}])
    assert exporter.archive is not None
    assert exporter.archive.version == "0.51.0"


def test_two_cannot_listen_on_one_port() -> None:
    assert problems(NODE, {**NODE, "name": "edge"}) == [
        "exporter edge: listen: its port is that of exporter node; two cannot listen on one port"
    ]
    both = parse_exporters([NODE, {**NODE, "name": "edge", "listen": "127.0.0.1:9101"}])
    assert list(ports_of(both)) == [(9100, "exporter node"), (9101, "exporter edge")]


@pytest.mark.parametrize(
    ("checksum", "expected"),
    [
        (SUM, {"amd64": SUM, "arm64": SUM}),
        (f"sha256:{SUM.upper()}", {"amd64": SUM, "arm64": SUM}),
        ({"arm64": SUM}, {"arm64": SUM}),
    ],
)
def test_a_checksum_is_one_or_one_for_each_architecture(checksum: Any, expected: dict[str, str]) -> None:
    exporter = one(install_method="archive", archive={"version": "9.9.9", "checksum": checksum})
    assert exporter.archive is not None
    assert exporter.archive.checksums == expected


def test_a_pinned_version_needs_no_checksum_and_a_mirror_takes_the_place_of_github() -> None:
    declared = [{**NODE, "install_method": "archive", "archive": {"version": "1.9.1"}}]
    (exporter,) = parse_exporters(declared, mirror="http://mirror.example.com/github/")
    assert exporter.archive is not None
    assert exporter.archive.url.startswith("http://mirror.example.com/github/prometheus/node_exporter/releases/")
    assert set(exporter.archive.checksums) == {"amd64", "arm64"}


@pytest.mark.parametrize(
    "argument",
    [
        *("--redis.password=hush", "-redis.password=hush", "--redis.password-file=/x", "--redis.addr=redis://:hush@h"),
        *("--mongodb.uri=mongodb://u:hush@h", "--mongodb.password=hush", "--collector.textfile.directory=/x"),
        *("--collect.interval=1", "--backrest.config=/x", "--backrest.stanza-include=x", "--config.check"),
    ],
)
def test_no_argument_says_what_a_key_says(argument: str) -> None:
    (problem,) = problems({"name": "x", "kind": "redis", "arguments": [argument]})
    assert problem.startswith("exporter x: arguments[0]: is set by keys"), problem


def test_no_checksum_is_none() -> None:
    archive = {"version": "9.9.9", "checksum": {}}
    (problem,) = problems({**NODE, "install_method": "archive", "archive": archive})
    assert problem == "exporter node: archive.checksum: is empty"


def test_textfiles_are_those_of_the_host_unless_an_exporter_has_its_own() -> None:
    (theirs,) = parse_exporters([NODE], textfile_dir="/var/lib/textfiles")
    (own,) = parse_exporters([{**NODE, "textfile_dir": "/srv/own"}], textfile_dir="/var/lib/textfiles")
    assert theirs.options["textfile_dir"] == "/var/lib/textfiles"
    assert own.options["textfile_dir"] == "/srv/own"
    assert one().options["textfile_dir"] is None


def test_exporters_are_checked_with_everything_else_of_a_host() -> None:
    with pytest.raises(InvalidDeclaration) as caught:
        read_host({"holdfast_exporters": [{"name": "node", "kind": "nod"}], "holdfast_scheduler": "chron"})
    assert [line.split(":")[0] for line in caught.value.problems] == ["exporter node", "holdfast_scheduler"]
    with pytest.raises(InvalidDeclaration, match="its port is that of exporter node"):
        read_host({"holdfast_exporters": [NODE], "holdfast_health_listen": "127.0.0.1:9100"})
    assert read_host({"holdfast_exporters": [NODE]}).work == ("holdfast_exporters",)


# -- the catalogue ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_an_entry_of_the_catalogue_can_be_declared_with_its_name_alone(name: str) -> None:
    kind = KINDS[name]
    declared: dict[str, Any] = {"name": "x", "kind": name}
    if kind.package is None and kind.upstream is not None and not kind.upstream.pins:
        declared["archive"] = {"version": "1.0.0", "checksum": SUM}
    (exporter,) = parse_exporters([declared])
    assert (exporter.port, exporter.address) == (kind.port, "127.0.0.1")
    arguments = _unit.arguments(exporter, kind, exporter.options, "/etc/x")
    assert any(f"{exporter.port}" in argument for argument in arguments)
    assert all(re.fullmatch(r"--?[a-z][\w.-]*(=\S.*)?", argument) for argument in arguments), arguments
    for variable in _unit.environment(exporter, kind, exporter.options):
        assert re.fullmatch("[A-Z][A-Z0-9_]+", variable)


@pytest.mark.parametrize("name", KINDS)
def test_an_entry_of_the_catalogue_is_whole(name: str) -> None:
    kind = KINDS[name]
    assert kind.package is not None or kind.upstream is not None
    assert not set(kind.options) & set(COMMON)
    assert set(kind.unit) <= set(_unit.HARDENING)
    named = {item.when for item in (*kind.arguments, *kind.environment)}
    named |= {item.each for item in kind.arguments} | {item.unless for item in kind.environment}
    named |= {each for proof in kind.proofs for each in (proof.added, proof.without)}
    assert named - {""} <= set(kind.options)
    if kind.config is not None:
        assert kind.config.option in kind.options
    if kind.upstream is not None:
        assert set(re.findall(r"\{(\w+)\}", kind.upstream.url)) == {"version", "arch"}
        for pins in kind.upstream.pins.values():
            assert set(pins) <= {"amd64", "arm64"}
            assert all(re.fullmatch("[0-9a-f]{64}", each) for each in pins.values())
    for option in kind.options.values():
        assert option.get("no_log") is not True or "login_password_file" in kind.options


def test_no_two_kinds_have_one_port() -> None:
    assert len({kind.port for kind in KINDS.values()}) == len(KINDS)


def test_a_pin_stands_for_one_archive() -> None:
    pins = [
        pin for kind in KINDS.values() if kind.upstream for each in kind.upstream.pins.values() for pin in each.values()
    ]
    assert len(set(pins)) == len(pins)


def test_what_has_no_protection_of_its_own_stays_on_the_host() -> None:
    for name in (name for name, kind in KINDS.items() if kind.web == CADVISOR):
        assert len(problems({"name": "x", "kind": name, "listen": "0.0.0.0:80"})) == 1


def test_every_kind_and_every_key_is_documented() -> None:
    text = (TOP / "docs" / "exporters.md").read_text(encoding="utf-8")
    for key in COMMON:
        assert f"`{key}`" in text, key
    for name, kind in KINDS.items():
        assert f"### `{name}`" in text, name
        section = text.split(f"### `{name}`")[1].split("\n##")[0]
        for option in kind.options:
            assert f"`{option}`" in section, f"{name}: {option}"
