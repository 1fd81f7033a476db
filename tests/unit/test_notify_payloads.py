# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is sent to each vendor keeps the vendor's published contract, whatever stands in an event."""

from __future__ import annotations

import email
import email.policy
import hashlib
import hmac
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._notify._channels import (
    _alertmanager,
    _discord,
    _email,
    _pagerduty,
    _slack,
    _webhook,
)
from ansible_collections.holdfast.ops.plugins.module_utils._notify._model import SEVERITIES, SOURCES, STATUSES, Message
from ansible_collections.holdfast.ops.tests.support.notify import NOON, contract, event
from hypothesis import given, settings
from hypothesis import strategies as st

KEY = "0123456789abcdef0123456789abcdef"

texts = st.text(max_size=12).filter(lambda text: bool(text.strip()))
long_texts = st.builds(lambda text, times: text * times, st.text(max_size=8), st.sampled_from([1, 40, 1000]))
names = st.text("abcxyz0189_-. ", min_size=1, max_size=20)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Anything that may come, much of it longer than any vendor takes."""
    at = NOON + timedelta(minutes=draw(st.integers(-10_000, 10_000)))
    told = event(
        key=draw(texts),
        severity=draw(st.sampled_from(SEVERITIES)),
        status=draw(st.sampled_from(STATUSES)),
        summary=draw(st.builds(lambda text, times: text * times, texts, st.sampled_from([1, 200]))),
        details=draw(long_texts),
        component=draw(st.one_of(st.just(""), names)),
        source=draw(st.sampled_from(SOURCES)),
        labels=draw(st.dictionaries(names, long_texts, max_size=12)),
        at=at,
    )
    again = draw(st.booleans())
    unsent = draw(st.integers(0, 1000))
    return Message(
        told,
        since=NOON if again else at,
        again=again,
        told_severity=draw(st.sampled_from(SEVERITIES)) if again else None,
        unsent=unsent,
        unsent_since=NOON if unsent else None,
    )


def valid(document: Any, name: str) -> None:
    contract(name).validate(document)


@settings(max_examples=60, deadline=None)
@given(messages())
def test_every_message_keeps_every_contract(message: Message) -> None:
    valid(_slack.payload(message), "slack")
    valid(_webhook.payload(message), "webhook")
    valid(_pagerduty.payload(message, KEY), "pagerduty")
    alerts = _alertmanager.payload(message, {"team": "shop"}, message.event.at + timedelta(days=7))
    valid(alerts, "alertmanager")
    assert all(alert["startsAt"] <= alert["endsAt"] for alert in alerts)  # else Alertmanager refuses all of them
    document = _discord.payload(message)
    valid(document, "discord")
    assert characters(document) <= 6000


def characters(document: Any) -> int:
    """Of all that Discord counts: title, description, and the names and values of fields."""
    embed = document["embeds"][0]
    fields = embed.get("fields", [])
    return sum(
        map(
            len,
            [embed["title"], embed.get("description", ""), *(text for f in fields for text in (f["name"], f["value"]))],
        )
    )


@settings(max_examples=40, deadline=None)
@given(messages())
def test_every_message_is_a_mail_that_can_be_read_again(message: Message) -> None:
    mail = _email.compose(message, "holdfast@example.com", ["a@example.com", "b@example.com"], "[holdfast]")
    read = email.message_from_bytes(mail.as_bytes(), policy=email.policy.default)
    assert read["To"].addresses[1].addr_spec == "b@example.com"
    assert read["Message-ID"].endswith("@example.com>")
    assert read.get_content_type() == "text/plain"
    assert set(read.keys()) >= {"Subject", "From", "Date", "Auto-Submitted", "X-Holdfast-Key"}


def test_slack_shows_what_happened_and_calls_nobody() -> None:
    document = _slack.payload(Message(event(details="<!channel> & ```x```"), NOON))
    assert document["text"] == "*CRITICAL db1: backup of shop_db failed: it was killed by SIGKILL*"
    attachment = document["attachments"][0]
    assert attachment["color"] == "#d7263d"
    fields = [field["text"] for field in attachment["blocks"][0]["fields"]]
    assert fields[:3] == ["*Host*\ndb1", "*Component*\nshop_db", "*When*\n2026-11-22 12:00:00 UTC"]
    assert attachment["blocks"][1]["text"]["text"] == "```\n&lt;!channel&gt; &amp; '''x'''\n```"


def test_slack_and_discord_say_when_it_is_over_in_green() -> None:
    over = Message(
        event(status="resolved", at=NOON + timedelta(hours=3)), NOON, again=True, unsent=2, unsent_since=NOON
    )
    document = _slack.payload(over)
    assert document["text"].startswith("*RESOLVED db1: ")
    assert document["attachments"][0]["color"] == "#2e9e5b"
    words = str(document)
    assert (
        "3h" in words
        and "2 further events of this problem were not sent one by one since 2026-11-22T12:00:00Z" in words
    )
    assert _discord.payload(over)["embeds"][0]["color"] == 0x2E9E5B


def test_discord_mentions_nobody() -> None:
    document = _discord.payload(Message(event(details="@everyone"), NOON))
    assert document["allowed_mentions"] == {"parse": []}
    assert document["embeds"][0]["timestamp"] == "2026-11-22T12:00:00.000Z"


@pytest.mark.parametrize("severity", SEVERITIES)
def test_pagerduty_triggers_and_resolves_by_one_key(severity: str) -> None:
    firing = event(severity=severity)
    trigger = _pagerduty.payload(Message(firing, NOON), KEY)
    resolve = _pagerduty.payload(Message(replace(firing, status="resolved"), NOON, again=True), KEY)
    assert trigger["event_action"] == "trigger"
    assert trigger["payload"]["severity"] == severity
    assert trigger["payload"]["source"] == "db1"
    assert trigger["payload"]["component"] == "shop_db"
    assert trigger["payload"]["custom_details"]["unit"] == "holdfast-backup-shop_db.service"
    assert resolve == {"routing_key": KEY, "event_action": "resolve", "dedup_key": trigger["dedup_key"]}


def test_pagerduty_tells_hosts_apart_and_shortens_long_keys() -> None:
    keys = {
        _pagerduty.dedup_key(Message(event(host=host, key=key), NOON))
        for host in ("db1", "db2")
        for key in ("backup:x", "backup:" + "x" * 300, "backup:" + "x" * 301)
    }
    assert len(keys) == 6
    assert max(map(len, keys)) <= 255


def test_alertmanager_gets_the_same_labels_for_the_beginning_and_the_end() -> None:
    begin = _alertmanager.payload(Message(event(), NOON), {"team": "shop"}, NOON + timedelta(days=7))
    over = event(status="resolved", severity="info", at=NOON + timedelta(hours=1))
    end = _alertmanager.payload(Message(over, NOON, again=True, told_severity="critical"), {"team": "shop"}, NOON)
    assert (
        begin[0]["labels"]
        == end[0]["labels"]
        == {
            "alertname": "HoldfastJob",
            "severity": "critical",
            "host": "db1",
            "component": "shop_db",
            "source": "job",
            "key": "backup:shop_db",
            "unit": "holdfast-backup-shop_db.service",
            "team": "shop",
        }
    )
    assert (begin[0]["startsAt"], begin[0]["endsAt"]) == ("2026-11-22T12:00:00.000Z", "2026-11-29T12:00:00.000Z")
    assert (end[0]["startsAt"], end[0]["endsAt"]) == ("2026-11-22T12:00:00.000Z", "2026-11-22T13:00:00.000Z")


def test_alertmanager_ends_the_alert_of_the_former_severity() -> None:
    worse = Message(event(at=NOON + timedelta(hours=1)), NOON, again=True, told_severity="warning")
    former, alert = _alertmanager.payload(worse, {}, NOON + timedelta(days=7))
    assert (former["labels"]["severity"], former["endsAt"]) == ("warning", "2026-11-22T13:00:00.000Z")
    assert (alert["labels"]["severity"], alert["endsAt"]) == ("critical", "2026-11-29T12:00:00.000Z")


def test_a_webhooks_signature_covers_time_and_body() -> None:
    headers = _webhook.signature("key", b"body", 1_700_000_000)
    expected = hmac.new(b"key", b"1700000000.body", hashlib.sha256).hexdigest()
    assert headers == {"X-Holdfast-Timestamp": "1700000000", "X-Holdfast-Signature": f"sha256={expected}"}


def test_mails_of_one_problem_are_one_thread() -> None:
    first = _email.compose(Message(event(), NOON), "Holdfast <holdfast@example.com>", ["a@example.com"], "[holdfast]")
    later = event(at=NOON + timedelta(hours=5))
    again = _email.compose(Message(later, NOON, again=True), "holdfast@example.com", ["a@example.com"], "[holdfast]")
    over = event(status="resolved", at=NOON + timedelta(hours=6))
    end = _email.compose(Message(over, NOON, again=True), "holdfast@example.com", ["a@example.com"], "[holdfast]")
    other = _email.compose(Message(event(key="backup:other"), NOON), "holdfast@example.com", ["a@example.com"], "")
    assert first["Subject"] == "[holdfast] CRITICAL db1: backup of shop_db failed: it was killed by SIGKILL"
    assert end["Subject"].startswith("[holdfast] RESOLVED db1: ")
    assert again["References"] == end["References"] == end["In-Reply-To"] == first["Message-ID"]
    assert len({mail["Message-ID"] for mail in (first, again, end, other)}) == 4
    assert first["References"] is None
    assert (first["Importance"], end["Importance"]) == ("high", None)


def test_a_mail_is_read_without_html() -> None:
    mail = _email.compose(Message(event(), NOON), "holdfast@example.com", ["a@example.com"], "[holdfast]")
    assert mail.get_content() == (
        "CRITICAL db1: backup of shop_db failed: it was killed by SIGKILL\n\n"
        "Host: db1\nComponent: shop_db\nWhen: 2026-11-22 12:00:00 UTC\nUnit: holdfast-backup-shop_db.service\n\n"
        "holdfast-backup-shop_db.service on db1 failed.\n\nIts last lines:\nno space left on device\n"
    )
