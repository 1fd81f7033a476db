# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter holdfast.ops.maintenance_jobs."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.holdfast.ops.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.ops.plugins.module_utils._schedules._jobs import Clocks, plan_maintenance

DOCUMENTATION = r"""
name: maintenance_jobs
short_description: When the parts of a host's maintenance run
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Translates the schedules of the parts of maintenance into systemd's C(OnCalendar=) and, where they are for cron,
    into its five fields, whichever of the two they were written for.
  - Fails when cron cannot say a schedule, naming every such part.
positional: time_zone, host_zone, timeout
options:
  _input:
    description: The C(maintenance) that M(holdfast.ops.host_config) returns with C(state=checked).
    type: dict
    required: true
  time_zone:
    description: Whose clock the schedules mean unless they name a zone themselves; an IANA name.
    type: str
    default: UTC
  host_zone:
    description: The host's own time zone, which cron goes by. Left out when the jobs are not for cron.
    type: str
  timeout:
    description: Seconds that a part may take.
    type: int
    default: 21600
"""

EXAMPLES = r"""
- name: What is declared?
  holdfast.ops.host_config:
    state: checked
  register: declared

- name: When does it run?
  ansible.builtin.debug:
    msg: "{{ declared.maintenance | holdfast.ops.maintenance_jobs('Europe/Berlin') }}"
"""

RETURN = r"""
_value:
  description: One entry for each part that runs by itself.
  type: list
  elements: dict
  sample:
    - name: maintenance-daily
      unit: holdfast-maintenance-daily
      title: do the daily maintenance
      verb: maintenance
      subject: daily
      schedule: "06:30"
      on_calendar: ["*-*-* 06:30:00 Europe/Berlin"]
      cron: []
      timeout_seconds: 21600
      directories: []
      shared_tmp: false
"""


def _maintenance_jobs(
    parts: Any, time_zone: str = "UTC", host_zone: str | None = None, timeout: int = 21600
) -> list[dict[str, Any]]:
    try:
        clocks = Clocks(time_zone, host_zone or None)
        return [job.as_dict() for job in plan_maintenance(parts, clocks, int(timeout))]
    except HoldfastError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"maintenance_jobs": _maintenance_jobs}
