#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.log_report_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: log_report_info
short_description: Report on the errors in logs and in the journal
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Counts errors, in total and by the hour, finds those that say the same, when each was seen first and last, which are
    new, and the hours with far more of them than usual.
  - Reads the levels of Python's C(logging), Celery, nginx, Apache, PostgreSQL, syslog, and lines of JSON (also those in
    which Docker wraps what a container writes). A stack trace is one entry with the line that it belongs to, and is
    known by the exception that it ends with.
  - Messages are shown with placeholders for numbers, times, paths, quoted words, addresses, URLs and ids. Secrets
    (passwords in URLs, tokens, C(Authorization) and the like) are taken out before.
  - Logs are read from their end, for O(read_seconds) at most, so that the newest is known when time is up; how far the
    report goes back is said. What was rotated meanwhile is no matter.
notes:
  - A file is not read through a symbolic link on any part of its path, nor when it has a second name (hard link). What
    may not be read is a finding.
  - A moment without a zone is read in the host's own, or in O(timezone). A moment without a year (syslog) is the last
    one that fits. Errors that no moment stands near are counted beside the others.
  - A line of an access log is no error by itself; count its status codes where metrics are made.
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Nothing is changed in any mode.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: none
    details:
      - Nothing is changed.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: full
options:
  files:
    description:
      - Absolute paths, with C(*), C(?) and C([...]) in any part. One of this, O(units) and O(journal) is needed.
    type: list
    elements: str
    default: []
  rotated:
    description:
      - Read also what these logs were before they were rotated, such as C(app.log.1), C(app.log-20261122) and
        C(app.log.2.gz), as far as it was written in the time that counts.
    type: bool
    default: true
  units:
    description: Units whose entries in the journal are read, whatever their priority. Patterns are allowed.
    type: list
    elements: str
    default: []
  journal:
    description: Read the entries of the whole journal with the priority C(err) or worse, the kernel's included.
    type: bool
    default: false
  since:
    description:
      - How long ago it begins, at least V(1h). As much again before that is read to know what is usual, and what is
        new.
    type: str
    default: 24h
  level:
    description: From which level on entries count.
    type: str
    choices: [error, warning]
    default: error
  patterns:
    description: Regular expressions of Python. A line that holds one counts, whatever its level.
    type: list
    elements: str
    default: []
  ignore:
    description: Regular expressions of Python. An entry whose first line holds one never counts.
    type: list
    elements: str
    default: []
  timezone:
    description: Zone of moments that do not say it, such as V(UTC) or V(Europe/Berlin). The default is the host's own.
    type: str
  burst_least:
    description: An hour with fewer errors is no burst.
    type: int
    default: 20
  burst_factor:
    description: An hour is a burst when it has more than so many times the median of all hours that were read.
    type: float
    default: 5.0
  read_seconds:
    description: For how long logs are read, at most.
    type: float
    default: 5.0
  limit:
    description: Rows of a table, at most.
    type: int
    default: 20
"""

EXAMPLES = r"""
- name: The errors of the last day
  holdfast.ops.log_report_info:
    files:
      - /opt/omnidoc/logs/*.log
      - /var/log/nginx/error.log
      - /var/log/postgresql/*.log
    units: [omnidoc-backend.service, "omnidoc-celery*"]
    journal: true
  become: true
  register: logs

- name: What is new
  ansible.builtin.debug:
    msg: "{{ logs.messages | selectattr('new', 'equalto', 'yes') | map(attribute='message') }}"

- name: A week, with warnings, of an application that writes in UTC
  holdfast.ops.log_report_info:
    files: [/srv/app/log/app.log]
    since: 7d
    level: warning
    timezone: UTC
    ignore: ["health_?check"]
  become: true
"""

RETURN = r"""
msg:
  description: How many errors, and the most common one.
  returned: success
  type: str
  sample: "214 errors in 1d (12 in the 1d before); most common, 180 times: connect() failed (<n>: Connection refused)."
findings:
  description: What a person should know of.
  returned: success
  type: list
  elements: dict
  contains:
    code:
      description: Stable, such as V(burst), V(new_message), V(critical_message), V(log_unreadable), V(not_all_read).
      type: str
    severity:
      description: V(info), V(warning) or V(critical).
      type: str
    text:
      description: One sentence.
      type: str
    subject:
      description: What it is about.
      type: str
    advice:
      description: What to do.
      type: str
errors:
  description: Entries of the window.
  returned: success
  type: int
undated:
  description: Entries that cannot be dated, beside these.
  returned: success
  type: int
levels:
  description: All of them by level.
  returned: success
  type: dict
  sample: {"critical": 2, "error": 212}
messages:
  description: The most common messages, with level, how often, whether it is new, first and last time, and the logs.
  returned: success
  type: list
  elements: dict
  sample: [{"message": "connect() failed (<n>: Connection refused)", "level": "error", "count": 180, "new": "yes",
            "first": "2026-11-22T03:10:00Z", "last": "2026-11-22T03:25:12Z", "logs": "/var/log/nginx/error.log"}]
hours:
  description: Entries by hour.
  returned: success
  type: list
  elements: dict
  sample: [{"hour": "2026-11-22T03:00:00Z", "errors": 180}]
logs:
  description: What was read, how many bytes of it, back to when, and whether that was all of the time.
  returned: success
  type: list
  elements: dict
  sample: [{"log": "/var/log/nginx/error.log", "bytes": 48210, "oldest": "2026-11-20T00:00:01Z", "complete": "yes"}]
section:
  description: The same as a part of a report, with tables.
  returned: success
  type: dict
error_code:
  description: The kind of failure.
  returned: on failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._log_report import LogReport
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._module import module_spec, run_kind


def main() -> None:
    """Entry point."""
    run_kind(AnsibleModule(**module_spec(LogReport).module()), LogReport)


if __name__ == "__main__":
    main()
