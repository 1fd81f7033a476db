# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declaration of channels: every problem at once, named, and never with a value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import InvalidDeclaration
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption
from ansible_collections.holdfast.ops.plugins.module_utils._notify import _config
from ansible_collections.holdfast.ops.plugins.module_utils._notify._channels._registry import CHANNELS
from ansible_collections.holdfast.ops.plugins.module_utils._notify._parse import (
    Notifications,
    parse_notifications,
    secret_options,
)

SECRET = "T0000000-B0000000-XXXXXXXXXXXXXXXXXXXXXXXX"
HOOK = f"https://hooks.example.com/services/{SECRET}"

ONE_OF_EACH: tuple[dict[str, Any], ...] = (
    {
        "name": "mail",
        "type": "email",
        "host": "mail.example.com",
        "from": "h@example.com",
        "to": "a@example.com,b@example.com",
        "user": "h",
        "password": SECRET,
    },
    {"name": "slack", "type": "slack", "url": HOOK},
    {"name": "discord", "type": "discord", "url_file": "/etc/holdfast/hook"},
    {"name": "oncall", "type": "pagerduty", "routing_key": SECRET},
    {"name": "hook", "type": "webhook", "url": HOOK, "token": SECRET, "secret": SECRET, "headers": {"X-Team": SECRET}},
    {"name": "am", "type": "alertmanager", "url": "http://am.example.com:9093", "labels": {"team": "shop"}},
    {"name": "alive", "type": "heartbeat", "urls": {"shop_db": HOOK}},
)


def problems(*declared: Any, components: Mapping[str, Any] | None = None) -> list[str]:
    with pytest.raises(InvalidDeclaration) as refused:
        parse_notifications(list(declared), components)
    assert SECRET not in str(refused.value)
    return list(refused.value.problems)


def problem(values: Mapping[str, Any], **how: Any) -> str:
    (line,) = problems({"name": "one", **values}, **how)
    prefix = "notification channel one: "
    assert line.startswith(prefix), line
    return line[len(prefix) :]


def test_every_type_is_here() -> None:
    assert {each["type"] for each in ONE_OF_EACH} == set(CHANNELS)


def test_what_is_written_to_a_host_is_read_back(tmp_path: Path) -> None:
    declared = parse_notifications(ONE_OF_EACH)
    path = tmp_path / "notify.json"
    path.write_text(json.dumps(declared.as_config()))
    read = _config.load(str(path))
    assert [channel.declared for channel in read] == [channel.declared for channel in declared]
    assert [channel.type for channel in read] == [each["type"] for each in ONE_OF_EACH]


def test_secrets_can_lie_in_files_of_their_own(tmp_path: Path) -> None:
    placed: dict[str, str] = {}

    def place(name: str, value: str) -> str:
        placed[name] = value
        (tmp_path / name).write_text(f"{value}\n")
        return str(tmp_path / name)

    config = parse_notifications(ONE_OF_EACH).as_config(place)
    inline = json.dumps([each for each in config["channels"] if each["name"] not in ("alive", "hook")])
    assert SECRET not in inline
    assert placed == {
        "notify-mail-password": SECRET,
        "notify-slack-url": HOOK,
        "notify-oncall-routing_key": SECRET,
        "notify-hook-url": HOOK,
        "notify-hook-token": SECRET,
        "notify-hook-secret": SECRET,
        "notify-am-url": "http://am.example.com:9093",
    }
    channels = {channel.name: channel for channel in Notifications.from_config(config)}
    assert channels["mail"].secret("password") == SECRET
    assert channels["slack"].secret("url") == HOOK


def test_nothing_declared_is_no_channel(tmp_path: Path) -> None:
    assert len(parse_notifications(None)) == len(parse_notifications([])) == 0
    assert len(_config.load(str(tmp_path / "missing.json"))) == 0


@pytest.mark.parametrize("text", ["{", "[]", '{"channels": 7}', '{"channels": [{"type": "slack"}]}'])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notify.json"
    path.write_text(text)
    with pytest.raises(InvalidOption):
        _config.load(str(path))


def test_every_problem_is_told_at_once() -> None:
    assert problems(
        7,
        {"type": "slak", "name": "a"},
        {"type": "slack", "name": "b", "urll": HOOK},
        {"type": "email", "name": "b"},
        {"name": "c"},
    ) == [
        "holdfast_notifications: [0]: must be a mapping, and is a number",
        "notification channel a: type: there is no such type, did you mean slack?",
        "notification channel b: urll: unknown key, did you mean url?",
        "notification channel b: one of url, url_file is required",
        "notification channel b: name: declared twice, as holdfast_notifications[2] and [3]",
        "notification channel b: host: is required",
        "notification channel b: from: is required",
        "notification channel b: to: is required",
        "notification channel c: type: is required",
    ]


@pytest.mark.parametrize("value", [{"a": 1}, "slack", 3])
def test_it_must_be_a_list(value: Any) -> None:
    with pytest.raises(InvalidDeclaration, match="must be a list of channels"):
        parse_notifications(value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"type": "slack", "url": f"http://hooks.example.com/{SECRET}"}, "url: must begin with https://"),
        ({"type": "slack", "url": SECRET}, "url: is not an address of the form https://host/path"),
        ({"type": "slack", "url": f"https://u:{SECRET}@example.com/"}, "url: must not hold a user and password"),
        ({"type": "webhook", "url": f"https://example.com:port/{SECRET}"}, "url: is not an address"),
        ({"type": "webhook", "url": f"ftp://example.com/{SECRET}"}, "url: is not an address"),
        ({"type": "webhook", "url": f"https://example.com/{SECRET}\r\nX: y"}, "url: is not an address"),
        ({"type": "webhook", "url": HOOK, "url_file": "/x"}, "url and url_file exclude each other"),
        ({"type": "webhook", "url": HOOK, "proxy": "https://proxy"}, "proxy: is not an address of the form http://"),
        ({"type": "webhook", "url": HOOK, "headers": {"Host": "x"}}, "headers.Host: is set by holdfast itself"),
        ({"type": "webhook", "url": HOOK, "headers": {"authorization": SECRET}}, "headers.authorization: is set by"),
        ({"type": "webhook", "url": HOOK, "headers": {"X-A": f"{SECRET}\r\nX: y"}}, "headers.X-A: must be a string of"),
        ({"type": "webhook", "url": HOOK, "headers": {"a b": SECRET}}, "headers: the name of a header is none"),
        ({"type": "alertmanager", "url": HOOK, "labels": {"severity": "x"}}, "labels.severity: is set by holdfast"),
        ({"type": "alertmanager", "url": HOOK, "labels": {"a-b": "x"}}, "labels: the name of a label is none"),
        ({"type": "alertmanager", "url": HOOK, "password": SECRET}, "password: requires user"),
        ({"type": "slack", "url": HOOK, "routing_key": SECRET}, "routing_key: unknown key for type slack; it belongs"),
        ({"type": "heartbeat"}, "one of url, url_file, urls is required"),
        ({"type": "heartbeat", "urls": {"x": SECRET}}, "urls: is not an address"),
        ({"type": "slack", "url": HOOK, "timeout": "2m"}, "timeout: is longer than a minute"),
        ({"type": "slack", "url": HOOK, "timeout": 5}, "timeout: is a number without a unit"),
        ({"type": "slack", "url": HOOK, "retries": 11}, "retries: must be from 0 to 10"),
        ({"type": "slack", "url": HOOK, "rate_limit": 0}, "rate_limit: must be at least 1"),
        ({"type": "slack", "url": HOOK, "severities": ["criticall"]}, "severities[0]: is none of its choices, did you"),
    ],
)  # fmt: skip
def test_what_is_refused(values: Mapping[str, Any], said: str) -> None:
    assert problem(values).startswith(said)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"security": "none", "user": "u", "password": SECRET}, "security: none would send the password in clear"),
        ({"password": SECRET}, "password: requires user"),
        ({"port": 70000}, "port: must be from 1 to 65535"),
        ({"from": "nobody"}, "from: is not an address"),
        ({"to": ["a@example.com", "b@example.com\r\nBcc: c@example.com"]}, "to[1]: is not an address"),
        ({"host": "smtp://mail"}, "host: is not the name or address of a server"),
        ({"security": "ssl"}, "security: is none of its choices"),
    ],
)
def test_what_is_refused_of_a_mail(values: Mapping[str, Any], said: str) -> None:
    mail = {"type": "email", "host": "mail.example.com", "from": "h@example.com", "to": ["a@example.com"]}
    assert problem({**mail, **values}).startswith(said)


COMPONENTS = {"shop_db": ("database", "shop"), "shop_files": ("shop",), "wiki": ()}


def test_tags_become_the_components_that_have_them() -> None:
    hook = {"name": "one", "type": "slack", "url": HOOK}
    (channel,) = parse_notifications([{**hook, "components": ["wiki"], "tags": ["database"]}], COMPONENTS)
    assert channel.components == ["wiki", "shop_db"]
    (channel,) = parse_notifications([{**hook, "tags": ["shop"]}], COMPONENTS)
    assert channel.components == ["shop_db", "shop_files"]
    (channel,) = parse_notifications([hook], COMPONENTS)
    assert channel.components is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"components": ["shop_bd"]}, "components[0]: no such component is declared, did you mean shop_db?"),
        ({"tags": ["databse"]}, "tags[0]: no component has this tag, did you mean database?"),
    ],
)
def test_a_component_that_is_not_declared_is_refused(values: Mapping[str, Any], said: str) -> None:
    assert problem({"type": "slack", "url": HOOK, **values}, components=COMPONENTS) == said


@pytest.mark.parametrize("kind", sorted(CHANNELS))
def test_every_secret_is_marked(kind: str) -> None:
    """What sounds like a secret is one, or is the path of one; and a secret has a file beside it, or is a mapping."""
    options = CHANNELS[kind].SPEC.options
    for name, option in options.items():
        if name in ("proxy", "token", "secret", "password", "routing_key", "urls", "headers") or (
            name == "url" and kind != "pagerduty"
        ):
            assert option.get("no_log") is True, name
            assert name in secret_options(kind) or option["type"] == "dict", name
        elif name.endswith("_file"):
            assert option["type"] == "path" and option.get("no_log", False) is False, name


def test_a_channel_knows_what_must_not_be_shown(tmp_path: Path) -> None:
    (tmp_path / "hook").write_text(f"{HOOK}\n")
    (channel,) = parse_notifications([{"name": "one", "type": "slack", "url_file": str(tmp_path / "hook")}])
    shown = channel.redact(f"cannot POST {HOOK}: no /services/{SECRET} here, {SECRET} is unknown")
    assert SECRET not in shown and "cannot POST" in shown
    (channel,) = parse_notifications([ONE_OF_EACH[6]])
    assert SECRET not in channel.redact(f"no such check {SECRET}")


def test_a_secret_file_that_is_missing_is_named_without_its_content(tmp_path: Path) -> None:
    (channel,) = parse_notifications([{"name": "one", "type": "slack", "url_file": str(tmp_path / "hook")}])
    with pytest.raises(InvalidOption, match=r"hook \(url_file of channel one\) cannot be read: No such file"):
        channel.secret("url")
    (tmp_path / "hook").write_text("\n")
    with pytest.raises(InvalidOption, match="is empty"):
        channel.secret("url")
    (tmp_path / "hook").write_text(f"not an address {SECRET}")
    with pytest.raises(InvalidOption) as refused:
        channel.probe(1)
    assert SECRET not in str(refused.value)


def test_the_name_of_the_host_is_the_inventorys(tmp_path: Path) -> None:
    path = tmp_path / "host.json"
    path.write_text('{"inventory_hostname": "db1"}')
    assert _config.host_name(str(path)) == "db1"
    path.write_text("{")
    assert _config.host_name(str(path))  # its own name: a message under another name is better than none
