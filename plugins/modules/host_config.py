#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write what a host must know to look after itself."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_config
short_description: Check what is declared of a host, and write it to the host
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Reads everything that is declared of the host (C(holdfast_components), C(holdfast_repositories),
    C(holdfast_notifications), C(holdfast_health_checks), C(holdfast_health_listen), C(holdfast_maintenance),
    C(holdfast_logs), C(holdfast_cleanups), C(holdfast_exporters), C(holdfast_scheduler), C(holdfast_time_zone) and what
    belongs to them) and checks all of it on the controller. A declaration that cannot be right is refused with every
    problem on a line of its own, naming the key and no value.
  - With O(state=present) the host gets an inventory of its own in C(/etc/holdfast), so that it backs up, verifies and
    restores with no control node left alive. It is decrypted and templated once, here; on the host no string in it is
    templated again. Each secret lies in a file of its own, which an option C(..._file) names. Nothing of how the
    controller logs in goes with it.
  - All files are readable by root only, are replaced in one step, and only when they differ. A diff names the files and
    shows none of their contents.
attributes:
  action:
    description: Has a corresponding action plugin, so some parts of it run on the controller.
    support: full
  async:
    description: Supports being used with the C(async) keyword.
    support: none
  bypass_host_loop:
    description: Forces a global task that does not execute per host.
    support: none
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: full
    details:
      - Names of files only.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: full
options:
  state:
    description:
      - V(present) writes the files, V(absent) removes them; files in the directory that are not ours stay.
      - V(checked) only checks what is declared and contacts no host.
    type: str
    choices: [present, absent, checked]
    default: present
  interpreter:
    description: The Python on the host that its own runs use.
    type: path
    default: /opt/holdfast/venv/bin/python
  root:
    description: A directory that C(/etc/holdfast) and all paths in it lie below. For tests.
    type: path
    default: ''
  files:
    description: What is to be written, as JSON. The action plugin sets it; there is no need to.
    type: str
notes:
  - The role P(holdfast.ops.agent#role) runs this.
"""

EXAMPLES = r"""
- name: Refuse a declaration that cannot be right before anything is contacted
  holdfast.ops.host_config:
    state: checked

- name: Let the host know what it has to look after
  holdfast.ops.host_config:
  become: true
"""

RETURN = r"""
components:
  description: Names of the components that the host declares, in their order.
  returned: with O(state=checked) and O(state=present)
  type: list
  elements: str
  sample: [omnidoc_db, omnidoc_documents]
work:
  description:
    - The variables that give the host something to do, which are C(holdfast_components), C(holdfast_health_checks),
      C(holdfast_maintenance), C(holdfast_logs), C(holdfast_cleanups) and C(holdfast_exporters). None of them on a host
      that is to be left alone.
  returned: with O(state=checked) and O(state=present)
  type: list
  elements: str
  sample: [holdfast_components, holdfast_health_checks]
maintenance:
  description:
    - The parts of C(holdfast_maintenance) that run by themselves, with their schedules and tasks, and which directories
      of the host they write to.
  returned: with O(state=checked) and O(state=present)
  type: dict
  sample:
    daily: {schedule: "06:30", tasks: [database], directories: [], shared_tmp: false}
changes:
  description: Files that were written or removed, or would be in check mode.
  returned: with O(state=present) and O(state=absent)
  type: list
  elements: str
  sample: ["inventory.yml: changed", "secrets/component-omnidoc_db-login_password: new"]
error_code:
  description: The kind of failure; V(invalid_declaration) when the declaration is wrong.
  returned: on failure
  type: str
  sample: invalid_declaration
problems:
  description: Everything that is wrong with the declaration.
  returned: when the declaration is wrong
  type: list
  elements: str
  sample: ["holdfast_scheduler: is none of its choices, did you mean timer?"]
"""

import json

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.ops.plugins.module_utils._host import _files, _paths


def main() -> None:
    """Write or remove the files."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent", "checked"], "default": "present"},
            "interpreter": {"type": "path", "default": f"{_paths.VENV}/bin/python"},
            "root": {"type": "path", "default": ""},
            "files": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    directory = f"{module.params['root']}{_paths.CONFIG}"
    files = json.loads(module.params["files"] or "{}") if module.params["state"] == "present" else {}
    try:
        changes = _files.plan(directory, files)
        if changes and not module.check_mode:
            _files.apply(directory, files, changes)
    except HoldfastError as error:
        module.fail_json(msg=str(error), **error.result())
    except OSError as error:
        module.fail_json(msg=f"{error.filename or directory} cannot be written: {error.strerror}.", error_code="error")
    lines = [str(change) for change in changes]
    shown = "".join(f"{directory}/{line}\n" for line in lines)
    module.exit_json(changed=bool(changes), changes=lines, diff={"prepared": shown})


if __name__ == "__main__":
    main()
