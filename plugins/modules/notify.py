#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.notify."""

from __future__ import annotations

DOCUMENTATION = r"""
module: notify
short_description: Tell people through the channels that a host declares
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Sends a notification through the channels of C(holdfast_notifications), as they were written to the host, and from
    the host. The addresses and keys of the channels stay there.
  - Every channel is told at the same time, and one that fails stops no other. What could not be delivered is kept on
    the host and tried again; the module fails all the same, and says which channels failed and why.
  - A problem that was told already is not told again within the channel's C(repeat); one that is resolved is told only
    where it had been told.
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Nothing is sent. The result says which channels would be told, and why others would not.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: none
    details:
      - Sending a message leaves nothing to compare.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: partial
    details:
      - A problem that fires again within the channel's C(repeat) (4 hours unless declared) is not told again, nor is
        one that is resolved already. A test always is.
options:
  status:
    description:
      - V(firing) tells of a problem, or of anything else that people are to know.
      - V(resolved) tells that it is over, where it had been told.
      - V(test) sends a test of each severity through every channel that takes it, whatever was told before. A heartbeat
        channel is only reached, because any ping would be a statement about a job.
    type: str
    choices: [firing, resolved, test]
    default: firing
  key:
    description:
      - Names the problem on its host, such as V(deploy:shop). What has the same key is the same problem.
      - Required unless O(status=test).
    type: str
  summary:
    description:
      - One line that says what happened. The message names the host by itself.
      - Required unless O(status=test).
    type: str
  severity:
    description: How urgent it is. Each channel declares which it takes.
    type: str
    choices: [critical, warning, info]
    default: warning
  component:
    description: The component it is about, for channels that are declared for some components only.
    type: str
    default: ''
  details:
    description: More lines. Put no secret here.
    type: str
    default: ''
  labels:
    description:
      - Further words, each a name and a value. Alertmanager groups and routes by them; they should not change from one
        message of a O(key) to the next.
    type: dict
    default: {}
  channels:
    description: Names of the channels to tell. All of the host's by default.
    type: list
    elements: str
  config:
    description: Where the channels are written on the host.
    type: path
    default: /etc/holdfast/notify.json
  state_dir:
    description: Where the host remembers what it told.
    type: path
    default: /var/lib/holdfast/notify
seealso:
  - module: holdfast.ops.host_config
notes:
  - The channels and every option of theirs are explained in C(docs/notifications.md).
"""

EXAMPLES = r"""
- name: Tell that a deployment failed
  holdfast.ops.notify:
    key: deploy:shop
    severity: critical
    summary: deployment of release 1.4.2 failed
    details: "{{ ansible_failed_result.msg }}"
  become: true

- name: Tell that it works again
  holdfast.ops.notify:
    key: deploy:shop
    status: resolved
    summary: release 1.4.3 is running
  become: true

- name: Prove that every channel of the host works
  holdfast.ops.notify:
    status: test
  become: true
"""

RETURN = r"""
channels:
  description: Names of the channels that were told, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: [mail, oncall]
deliveries:
  description: What became of each message.
  returned: always
  type: list
  elements: dict
  contains:
    channel:
      description: The name of the channel.
      type: str
    type:
      description: The type of the channel.
      type: str
    key:
      description: The key of the problem.
      type: str
    severity:
      description: The severity of the message.
      type: str
    status:
      description: V(firing) or V(resolved).
      type: str
    outcome:
      description: V(sent), V(suppressed), V(failed) or, in check mode, V(would_send).
      type: str
    reason:
      description: Why it was not sent; of a channel that was only reached, its host and port.
      type: str
    error_code:
      description: The kind of failure.
      type: str
    attempts:
      description: How often it was tried.
      type: int
    seconds:
      description: How long that took.
      type: float
    retried:
      description: Whether it is an earlier message that could not be delivered then.
      type: bool
report:
  description: The same in lines to read.
  returned: always
  type: list
  elements: str
  sample: ["team (slack): warning firing deploy:shop: sent"]
error_code:
  description: The kind of the first failure.
  returned: on failure
  type: str
  sample: unavailable
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._notify._module import SPEC, run


def main() -> None:
    """Entry point."""
    run(AnsibleModule(**SPEC.module()))


if __name__ == "__main__":
    main()
