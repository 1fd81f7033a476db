# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the option family `reporting`; the spec is in module_utils/_arguments.py."""

from __future__ import annotations


class ModuleDocFragment:
    """The options that every module of this family takes."""

    DOCUMENTATION = r"""
options:
  textfile_dir:
    description:
      - Directory of node_exporter's textfile collector. Metrics of this run are written there, atomically.
      - Without it no metrics are written.
    type: path
  rpo:
    description:
      - The most data, in time, that may be lost, such as V(24h). Published as a metric, so that alerts compare
        with it.
    type: str
  rto:
    description: The longest time that a restore may take, such as V(30m). Published as a metric.
    type: str
  history:
    description:
      - A PostgreSQL database in which every attempt, failed ones too, leaves a row.
      - A history that cannot be written never fails a backup; it warns.
    type: dict
    suboptions:
      host:
        description: Host name, address or directory of the unix socket. Default is libpq's own.
        type: str
      port:
        description: Port.
        type: int
        default: 5432
      user:
        description: User. Default is libpq's own.
        type: str
      password:
        description: Password.
        type: str
      password_file:
        description: A file on the host with the password alone, instead of O(history.password). Mode 0600.
        type: path
      database:
        description: Database.
        type: str
        required: true
      table:
        description: Table, created when missing. May be qualified with a schema.
        type: str
        default: backup_history
      ssl_mode:
        description: libpq's sslmode. Default is V(require) for a host that is not this one.
        type: str
"""
