#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.host_upkeep."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_upkeep
short_description: Write down how a host rotates its logs and cleans its directories
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Writes a file in logrotate's directory for each of O(logs), and O(config), which C(holdfast clean) reads, for what
    happens by age.
  - Before anything is replaced, logrotate itself judges its whole configuration as it would be. What it complains of,
    and does not complain of already, is refused.
  - Files of logs that are declared no more are removed. No log is rotated and nothing is cleaned by this module.
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - logrotate judges the configuration there too, unless it is not installed yet.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: full
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: full
options:
  state:
    description: V(absent) removes all files that this module wrote, and brings back those that were set aside.
    type: str
    choices: [present, absent]
    default: present
  logs:
    description: The logs that are rotated. All of them; a log that is missing here is rotated no more.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: A name; the file is called C(holdfast-NAME). Letters, digits, C(_) and C(-).
        type: str
        required: true
      paths:
        description:
          - The logs, with logrotate's wildcards. What was rotated must not match them, so not C(/var/log/app/*).
        type: list
        elements: str
        required: true
      keep:
        description:
          - A number of rotated logs, such as V(14), or for how long one is kept after its rotation, such as V(30d).
          - A length of time is kept to by C(holdfast clean), for quiet logs too. There must be no wildcard in a
            directory then.
        type: raw
        default: 30d
      frequency:
        description: How often a log is rotated that is not empty.
        type: str
        choices: [hourly, daily, weekly, monthly]
        default: daily
      compress:
        description: Whether rotated logs are compressed, by gzip.
        type: bool
        default: true
      compress_after:
        description:
          - How long after its rotation a log is compressed, such as V(7d), by C(holdfast clean). Without this it is
            at the next rotation, by logrotate.
        type: str
      min_size:
        description: A log that is smaller is not rotated yet, such as V(1MiB).
        type: str
      max_size:
        description:
          - A log that is larger is rotated before its time, such as V(100MiB). logrotate looks every hour then.
        type: str
      owner:
        description: Whose the new log is. Without O(logs[].owner) and O(logs[].mode) it is as the old one.
        type: str
      group:
        description: The group of the new log; by default called as its owner.
        type: str
      mode:
        description: The mode of the new log. Quote it, V("0640"), or YAML makes another number of it.
        type: str
      su:
        description:
          - As whom logrotate works, V(user) or V(user:group). Needed where the directory belongs to a service or is
            writable by a group.
        type: str
      copytruncate:
        description: For programs that cannot open their log anew; lines that are written meanwhile can be lost.
        type: bool
      reload:
        description:
          - systemd units that open their logs anew after a rotation, by reload. Those that do not run are left alone.
        type: list
        elements: str
      signal:
        description: Send this signal to the main process of these units instead of a reload.
        type: str
        choices: [HUP, USR1, USR2]
      replaces:
        description:
          - Files of packages in logrotate's directory that rotate the same logs, such as V(nginx). They are set
            aside, and come back when the log is declared no more.
        type: list
        elements: str
        default: []
  cleanups:
    description: The directories that are cleaned. All of them.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: A name, for messages and for C(holdfast clean NAME).
        type: str
        required: true
      path:
        description:
          - The directory. Absolute, and with no symbolic link in it, so that nobody can lead elsewhere what is removed.
          - Directories of the system and those that belong to many (C(/), C(/etc), C(/var/log), C(/home/ada),
            C(/opt/app)) are refused; one below them is meant.
        type: path
        required: true
      older_than:
        description: How long ago a file must have been written last, such as V(7d) or V(12h).
        type: str
        required: true
      patterns:
        description:
          - Which files, with the meaning that C(.gitignore) gives patterns. The last one that matches a file decides;
            one that begins with V(!) takes files out again.
        type: list
        elements: str
        default: ["*"]
      exclude:
        description: What is left alone, with the same meaning. A directory that is excluded is not entered.
        type: list
        elements: str
        default: []
      keep_at_least:
        description: This many of the files that match are kept however old they are, the newest ones.
        type: int
        default: 0
      recurse:
        description: Whether directories below are cleaned too. Other file systems are not entered.
        type: bool
        default: false
      remove_empty:
        description:
          - With O(cleanups[].recurse), whether directories go that are empty now and have not changed for
            O(cleanups[].older_than) before.
        type: bool
        default: false
  config:
    description: The file that C(holdfast clean) reads.
    type: path
    default: /etc/holdfast/upkeep.json
  logrotate_directory:
    description: The directory of logrotate's configuration.
    type: path
    default: /etc/logrotate.d
  logrotate_config:
    description: Its main configuration, which must include the directory.
    type: path
    default: /etc/logrotate.conf
seealso:
  - module: holdfast.ops.directory_cleanup
"""

EXAMPLES = r"""
- name: Logs for thirty days, compressed after seven; generated documents for a week
  holdfast.ops.host_upkeep:
    logs:
      - name: omnidoc
        paths: [/var/log/omnidoc/*.log]
        keep: 30d
        compress_after: 7d
        su: omnidoc
        reload: [omnidoc-backend]
      - name: nginx
        paths: [/var/log/nginx/*.log]
        keep: 14
        owner: www-data
        group: adm
        mode: "0640"
        reload: [nginx]
        signal: USR1
        replaces: [nginx]
    cleanups:
      - name: documents
        path: /srv/omnidoc/documents/generated
        older_than: 7d
        recurse: true
  become: true
"""

RETURN = r"""
files:
  description: The files that were written or removed, or would be.
  returned: success
  type: list
  elements: str
  sample: [/etc/logrotate.d/holdfast-omnidoc]
problems:
  description: Everything that is wrong with the declaration.
  returned: when it is wrong
  type: list
  elements: str
  sample: ["log omnidoc: compress_after: must be shorter than keep"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._upkeep._run import HOST_UPKEEP, run_host_upkeep


def main() -> None:
    """Entry point."""
    run_host_upkeep(AnsibleModule(**HOST_UPKEEP.module()))


if __name__ == "__main__":
    main()
