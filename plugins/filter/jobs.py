# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter holdfast.ops.jobs."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.holdfast.ops.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.ops.plugins.module_utils._schedules._jobs import Clocks, plan_jobs

DOCUMENTATION = r"""
name: jobs
short_description: What a host does when, from the policies of its components
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Translates the schedules of components into systemd's C(OnCalendar=) and, where they are for cron, into its five
    fields, whichever of the two they were written for.
  - Fails when cron cannot say a schedule, naming every such component and key.
positional: time_zone, host_zone
options:
  _input:
    description: The C(policies) that M(holdfast.ops.component) returns with C(verb=select).
    type: dict
    required: true
  time_zone:
    description: Whose clock the schedules mean unless they name a zone themselves; an IANA name.
    type: str
    default: UTC
  host_zone:
    description: The host's own time zone, which cron goes by. Left out when the jobs are not for cron.
    type: str
"""

EXAMPLES = r"""
- name: What is declared?
  holdfast.ops.component:
    verb: select
  register: declared

- name: When does it run?
  ansible.builtin.debug:
    msg: "{{ declared.policies | holdfast.ops.jobs('Europe/Berlin') }}"
"""

RETURN = r"""
_value:
  description: One entry for each job.
  type: list
  elements: dict
  sample:
    - name: backup-omnidoc_db
      unit: holdfast-backup-omnidoc_db
      title: back up omnidoc_db
      verb: backup
      subject: omnidoc_db
      schedule: "02:00"
      on_calendar: ["*-*-* 02:00:00 Europe/Berlin"]
      cron: []
      timeout_seconds: 1555800
      directories: [/srv/backups]
      shared_tmp: false
"""


def _jobs(policies: Any, time_zone: str = "UTC", host_zone: str | None = None) -> list[dict[str, Any]]:
    try:
        return [job.as_dict() for job in plan_jobs(policies, Clocks(time_zone, host_zone or None))]
    except HoldfastError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"jobs": _jobs}
