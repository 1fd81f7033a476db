#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.docker_prune."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_prune
short_description: Remove unused containers, images, networks, volumes and build cache of Docker
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Removes only what is named here, by what it is and how long it was not used. Nothing is removed by force, so what
    somebody uses by then stays, and that is told.
  - A volume is removed only when its name fits O(volumes) and no container has it, running or not. The volumes of a
    container that is removed now stay until the next time.
  - What a container needs stays with it, also when the container is stopped; its image, its networks, its volumes.
  - Asks the Docker Engine itself; neither its Python library nor its command line is needed.
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Tells what would be removed, with sizes.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: none
    details:
      - What is removed, or would be, is in RV(objects).
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: full
options:
  containers_older_than:
    description: Remove containers that were stopped, or made and never started, at least so long ago, such as V(7d).
    type: str
  images:
    description:
      - V(dangling) images have no name any more; V(unused) ones have a name, and there is no container of them.
    type: str
    choices: [none, dangling, unused]
    default: none
  images_older_than:
    description: Only images that were built, pulled or named at least so long ago.
    type: str
    default: 7d
  networks_older_than:
    description: Remove networks that were made at least so long ago and that no container uses, running or not.
    type: str
  build_cache_older_than:
    description: Remove build cache that was not used for so long.
    type: str
  volumes:
    description: Patterns of the names of volumes to be removed, with C(*), C(?) and C([...]). V(*) alone is refused.
    type: list
    elements: str
    default: []
  exclude_labels:
    description: What has one of these labels stays; C(key) or C(key=value). Build cache has no labels.
    type: list
    elements: str
    default: []
  protect:
    description:
      - Containers that stay, by name, id or C(project:service) of Docker Compose, and volumes by name; patterns are
        allowed. What components of this collection live in belongs here.
    type: list
    elements: str
    default: []
  docker_host:
    description:
      - V(unix:///path) or V(tcp://host:port). The default is the environment variable C(DOCKER_HOST), or
        C(unix:///var/run/docker.sock).
    type: str
  limit:
    description: Most rows of a table; its note says how many there are.
    type: int
    default: 20
  progress_file:
    description: File in which progress is written while it runs, as JSON.
    type: path
seealso:
  - module: holdfast.ops.docker_stats_info
"""

EXAMPLES = r"""
- name: What would be removed?
  holdfast.ops.docker_prune:
    containers_older_than: 7d
    images: unused
    images_older_than: 30d
    build_cache_older_than: 14d
  become: true
  check_mode: true
  register: plan

- name: Remove it, and the volumes of builds
  holdfast.ops.docker_prune:
    containers_older_than: 7d
    images: unused
    images_older_than: 30d
    build_cache_older_than: 14d
    volumes: ["ci-build-*"]
    exclude_labels: [keep]
    protect: ["omnidoc:*"]
  become: true
"""

RETURN = r"""
objects:
  description: What was removed, or would be in check mode, with C(what), C(id), C(name), C(size_bytes) and C(since).
  returned: on success
  type: list
  elements: dict
  sample: []
skipped:
  description: What could not be removed because somebody uses it by then, likewise, with the C(reason).
  returned: on success
  type: list
  elements: dict
  sample: []
size_bytes:
  description: The room of that, as far as the engine tells; layers that images share count for each of them.
  returned: on success
  type: int
  sample: 1232787051
msg:
  description: One sentence.
  returned: always
  type: str
  sample: "Removed 2 containers, 4 images, 1.1 GiB."
findings:
  description: What a person should know of, each with C(code), C(severity) (V(info), V(warning) or V(critical)),
    C(text), C(subject) and C(advice).
  returned: on success
  type: list
  elements: dict
  sample: []
section:
  description: Findings, tables and measures, as reports are made of them.
  returned: on success
  type: dict
error_code:
  description: The kind of failure.
  returned: on failure
  type: str
  sample: unavailable
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._docker_prune import DockerPrune
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._module import module_spec, run_kind


def main() -> None:
    """Entry point."""
    run_kind(AnsibleModule(**module_spec(DockerPrune).module()), DockerPrune)


if __name__ == "__main__":
    main()
