#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put this collection on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_collection
short_description: Put this collection on a host
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Packs the collection that the controller runs into one archive, unpacks it on the host beside the release that is in
    use, proves that it is what was packed, and switches to it in one step, by a link.
  - A release lies in C(/opt/holdfast/collections/VERSION-DIGEST); C(/opt/holdfast/current) is the link. The release
    that was in use before stays, older ones are removed.
  - The archive is sent only when the host does not have it. A release that was changed on the host is put right.
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
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: full
options:
  state:
    description: V(absent) removes all releases and the link.
    type: str
    choices: [present, absent]
    default: present
  root:
    description: A directory that C(/opt/holdfast) lies below. For tests.
    type: path
    default: ''
  version:
    description: The version of the collection. The action plugin sets it; there is no need to.
    type: str
  digest:
    description: The digest of what was packed. The action plugin sets it; there is no need to.
    type: str
  archive:
    description: The archive on the host. The action plugin sets it; there is no need to.
    type: path
notes:
  - The role P(holdfast.ops.agent#role) runs this.
"""

EXAMPLES = r"""
- name: Let the host run the playbooks by itself
  holdfast.ops.host_collection:
  become: true
"""

RETURN = r"""
release:
  description: The release that is in use, or would be in check mode.
  returned: with O(state=present)
  type: str
  sample: 1.0.0-0f1e2d3c4b5a6978
changes:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample:
    - unpack /opt/holdfast/collections/1.0.0-0f1e2d3c4b5a6978
    - switch /opt/holdfast/current to it
wanted:
  description: Nothing was done because the archive has to be sent first.
  returned: with O(state=present)
  type: bool
  sample: false
error_code:
  description: The kind of failure.
  returned: on failure
  type: str
  sample: corrupted
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.ops.plugins.module_utils._host import _paths, _releases


def present(module: AnsibleModule) -> dict[str, object]:
    """Use the release, unpacking it first where it is not here."""
    params = module.params
    root = params["root"]
    release = _releases.Release(
        f"{root}{_paths.COLLECTIONS}", f"{root}{_paths.CURRENT}", params["version"], params["digest"]
    )
    steps = release.plan()
    result = {"changed": bool(steps), "changes": steps, "release": release.name, "wanted": False}
    if module.check_mode or not steps:
        return result
    if not release.is_complete:
        if not params["archive"]:
            return {**result, "changed": False, "wanted": True}
        release.unpack(params["archive"])
    if release.in_use != release.path:
        release.switch()
    return result


def absent(module: AnsibleModule) -> dict[str, object]:
    """Remove all releases and the link."""
    root = module.params["root"]
    found = _releases.present(f"{root}{_paths.COLLECTIONS}", f"{root}{_paths.CURRENT}")
    if not module.check_mode:
        _releases.delete(found)
    return {"changed": bool(found), "changes": [f"remove {path}" for path in found]}


def main() -> None:
    """Put the collection into its place, or remove it."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "root": {"type": "path", "default": ""},
            "version": {"type": "str"},
            "digest": {"type": "str"},
            "archive": {"type": "path"},
        },
        supports_check_mode=True,
    )
    try:
        result = present(module) if module.params["state"] == "present" else absent(module)
    except HoldfastError as error:
        module.fail_json(msg=str(error), **error.result())
    except OSError as error:
        module.fail_json(msg=f"The collection was not put into its place: {error}.", error_code="error")
    result["diff"] = {"prepared": "".join(f"{line}\n" for line in result["changes"])}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
