# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The types of channels. A new one is one file beside this one, and one import below.

PRIVATE to the collection; may change without notice.

The imports are spelled out because Ansible ships to a host only what is imported statically.
"""

from __future__ import annotations

from .._interface import Channel
from ._alertmanager import AlertmanagerChannel
from ._discord import DiscordChannel
from ._email import EmailChannel
from ._heartbeat import HeartbeatChannel
from ._pagerduty import PagerDutyChannel
from ._slack import SlackChannel
from ._webhook import WebhookChannel

CHANNELS: dict[str, type[Channel]] = {
    channel.type: channel
    for channel in (
        AlertmanagerChannel,
        DiscordChannel,
        EmailChannel,
        HeartbeatChannel,
        PagerDutyChannel,
        SlackChannel,
        WebhookChannel,
    )
}
