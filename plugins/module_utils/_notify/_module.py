# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of the module `notify`, without Ansible.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from .._errors import HoldfastError, InvalidOption
from .._spec import Spec
from . import _config
from ._interface import Channel
from ._model import FIRING, RESOLVED, SENT, SEVERITIES, WOULD_SEND, Delivery, Event
from ._send import deliver, preview, preview_tests, send_tests

TEST = "test"

SPEC = Spec(
    {
        "status": {"type": "str", "choices": [FIRING, RESOLVED, TEST], "default": FIRING},
        "key": {"type": "str", "no_log": False},
        "summary": {"type": "str"},
        "severity": {"type": "str", "choices": list(SEVERITIES), "default": "warning"},
        "component": {"type": "str", "default": ""},
        "details": {"type": "str", "default": ""},
        "labels": {"type": "dict", "default": {}},
        "channels": {"type": "list", "elements": "str"},
        "config": {"type": "path", "default": "/etc/holdfast/notify.json"},
        "state_dir": {"type": "path", "default": "/var/lib/holdfast/notify"},
    },
    required_if=[("status", FIRING, ("key", "summary")), ("status", RESOLVED, ("key", "summary"))],
)


class Module(Protocol):
    """The part of AnsibleModule that is used here."""

    params: dict[str, Any]
    check_mode: bool

    def exit_json(self, **result: Any) -> None:
        """End with success."""

    def fail_json(self, msg: str, **result: Any) -> None:
        """End with failure."""

    def warn(self, warning: str) -> None:
        """Show a warning."""


def run(module: Module) -> None:
    """Notify, and end the module."""
    try:
        deliveries = _notify(module)
    except HoldfastError as error:
        module.fail_json(msg=str(error), changed=False, **error.result())
        return
    told = sorted({each.channel for each in deliveries if each.outcome in (SENT, WOULD_SEND)})
    result = {
        "changed": bool(told),
        "channels": told,
        "deliveries": [each.as_json() for each in deliveries],
        "report": [each.line() for each in deliveries],
    }
    failed = [f"{each.channel} ({each.severity}): {each.reason}" for each in deliveries if each.failed]
    if failed:
        first = next(each for each in deliveries if each.failed)
        module.fail_json(msg="Not everybody could be told. " + " ".join(failed), error_code=first.error_code, **result)
        return
    module.exit_json(**result)


def _notify(module: Module) -> tuple[Delivery, ...]:
    params = module.params
    channels = _chosen(params)
    host = _config.host_name()
    if params["status"] == TEST:
        return (preview_tests if module.check_mode else send_tests)(channels, host)
    event = Event(
        key=params["key"],
        severity=params["severity"],
        status=params["status"],
        summary=params["summary"],
        details=params["details"],
        component=params["component"],
        host=host,
        source="other",
        labels={str(name): str(value) for name, value in params["labels"].items()},
    )
    if module.check_mode:
        return preview(event, channels, params["state_dir"])
    return deliver(event, channels, params["state_dir"], module.warn)


def _chosen(params: Mapping[str, Any]) -> list[Channel]:
    declared = {channel.name: channel for channel in _config.load(params["config"])}
    if not declared:
        raise InvalidOption(
            f"No channel is declared in {params['config']}.",
            hint="Declare holdfast_notifications and run holdfast.ops.site for this host.",
        )
    wanted = params["channels"] if params["channels"] is not None else list(declared)
    unknown = [name for name in wanted if name not in declared]
    if unknown:
        raise InvalidOption(f"There is no channel {', '.join(unknown)}; declared: {', '.join(declared)}.")
    return [declared[name] for name in dict.fromkeys(wanted)]
