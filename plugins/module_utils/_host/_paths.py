# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything of holdfast lies on a host that looks after itself.

PRIVATE to the collection; may change without notice.

The roles, the command and the units all take their paths from here. With `HOLDFAST_ROOT` in the environment
everything lies below that directory, so that tests need no root and leave the machine alone.
"""

from __future__ import annotations

import os

ROOT = os.environ.get("HOLDFAST_ROOT", "").rstrip("/")

COLLECTIONS = f"{ROOT}/opt/holdfast/collections"
"""A directory `<version>-<digest>` for each release of the collection that is kept here."""
CURRENT = f"{ROOT}/opt/holdfast/current"
"""A link to the one of them that is used: what Python and Ansible look for `ansible_collections` in."""
VENV = f"{ROOT}/opt/holdfast/venv"

CONFIG = f"{ROOT}/etc/holdfast"
"""Readable by root only, as everything in it."""
INVENTORY = f"{CONFIG}/inventory.yml"
"""This host alone, with all variables resolved."""
NOTIFY = f"{CONFIG}/notify.json"
HEALTH = f"{CONFIG}/health.json"
HOST = f"{CONFIG}/host.json"
"""What the command needs to know of the host without reading a secret."""
ANSIBLE_CONFIG = f"{CONFIG}/ansible.cfg"
SECRETS = f"{CONFIG}/secrets"
"""A file for each secret, named by an option `…_file`."""

STATE = f"{ROOT}/var/lib/holdfast"
ANSIBLE_HOME = f"{STATE}/ansible"
REPORTS = f"{STATE}/reports"
NOTIFY_STATE = f"{STATE}/notify"
HEALTH_STATE = f"{STATE}/health"

LOGS = f"{ROOT}/var/log/holdfast"
JOBS_LOG = f"{LOGS}/jobs.jsonl"

RUN = f"{ROOT}/run/holdfast"
HEALTH_REPORT = f"{RUN}/health.json"

COMMAND = f"{ROOT}/usr/local/bin/holdfast"
COMPLETION = f"{ROOT}/usr/local/share/bash-completion/completions/holdfast"
