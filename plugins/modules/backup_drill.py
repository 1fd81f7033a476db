#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.backup_drill."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_drill
short_description: Rehearse a restore, measure it, and judge it by the policy
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Restores a backup into a private scratch place from every repository given, compares what came back with the
    fingerprint, removes it again, and judges it. The drill passes only when every backup is sound, every restore is
    proved, took no longer than O(rto), and brought back data no older than O(rpo).
  - Writes a report as JSON and as Markdown, and metrics. A drill that cannot come to its end leaves a report too, and
    fails.
  - Nothing live is touched. What was found out about the backup is recorded beside its manifest, as
    M(holdfast.ops.backup_verify) does.
extends_documentation_fragment:
  - holdfast.ops.repository
  - holdfast.ops.identity
  - holdfast.ops.reporting
  - holdfast.ops.verification
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - Tells which backup would be restored. Nothing is restored, and no report written.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: partial
    details:
      - The plan in check mode.
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: none
    details:
      - Every run is a drill of its own with a report of its own.
options:
  backup_id:
    description: The id of a backup, or V(latest), which is the newest in each repository.
    type: str
    default: latest
  source:
    description: The name of the one repository to restore from, such as the one off site. Without it, every one.
    type: str
  interval:
    description: The longest time between two drills. Published as a metric, so that a drill that stays away is noticed.
    type: str
  reports_dir:
    description: Where reports are written, readable by their owner only.
    type: path
    default: /var/lib/holdfast/reports
  keep_reports:
    description: How long reports are kept, C(365d) or more. Older ones of the component are removed by the next drill.
    type: str
    default: 400d
seealso:
  - module: holdfast.ops.backup_verify
"""

EXAMPLES = r"""
- name: Could we restore today, and fast enough?
  holdfast.ops.backup_drill:
    component: shop_db
    rto: 30m
    rpo: 24h
    textfile_dir: /var/lib/prometheus/node-exporter
    identity:
      age_file: /root/backup-identity.txt
    repositories:
      - {name: primary, type: s3, endpoint_url: "https://s3.example.com", bucket: backups}
      - {name: nas, type: local, path: /srv/backups}

- name: And if all that we had left was the copy off site?
  holdfast.ops.backup_drill:
    component: shop_db
    source: nas
    rto: 4h
    repositories:
      - {name: primary, type: s3, endpoint_url: "https://s3.example.com", bucket: backups}
      - {name: nas, type: local, path: /srv/backups}
"""

RETURN = r"""
component:
  description: The name of the component.
  returned: when the drill has begun
  type: str
  sample: shop_db
verdict:
  description: V(passed) or V(failed).
  returned: when the drill has begun
  type: str
  sample: passed
checks:
  description: Everything that was judged.
  returned: when the drill has begun
  type: list
  elements: dict
  contains:
    name:
      description: What was judged.
      type: str
    ok:
      description: Whether it is as it should be.
      type: bool
    demanded:
      description: What was demanded.
      type: str
    found:
      description: What was found.
      type: str
  sample: [{name: RTO in primary, ok: true, demanded: at most 30m, found: 4m12s}]
results:
  description: One entry a repository, as RV(holdfast.ops.backup_verify#module:results).
  returned: when the drill has begun
  type: list
  elements: dict
errors:
  description: For each repository that could not be read, why.
  returned: when the drill has begun
  type: dict
report:
  description: The report as JSON. Beside it lies the same as Markdown.
  returned: when the drill has begun
  type: str
  sample: /var/lib/holdfast/reports/drill-shop_db-20261122T040000Z.json
seconds:
  description: How long the whole drill took.
  returned: when the drill has begun
  type: float
plan:
  description: In check mode, the backups that would be restored.
  returned: in check mode
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._arguments import drill_spec
from ansible_collections.holdfast.ops.plugins.module_utils._run_drill import run_drill


def main() -> None:
    """Entry point."""
    run_drill(AnsibleModule(**drill_spec().module()))


if __name__ == "__main__":
    main()
