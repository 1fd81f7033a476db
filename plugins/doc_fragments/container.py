# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the option family `container`; the spec is in module_utils/_containers.py."""

from __future__ import annotations


class ModuleDocFragment:
    """The options that every module of this family takes."""

    DOCUMENTATION = r"""
options:
  container:
    description:
      - The Docker container that the server runs in. Its own programs are used, through the Docker engine, and nothing
        is installed in it.
    type: dict
    suboptions:
      name:
        description: Name of the container.
        type: str
      id:
        description: Id of the container.
        type: str
      project:
        description: Name of a Docker Compose project, together with O(container.service).
        type: str
      service:
        description: Name of the service in O(container.project). It must have one running container.
        type: str
      user:
        description: User inside the container that runs the programs. The default is the container's own.
        type: str
      docker_host:
        description: URL of the Docker engine. The default is the environment variable C(DOCKER_HOST), or the local one.
        type: str
requirements:
  - docker >= 7.0 (Python library, only where O(container) is used)
"""
