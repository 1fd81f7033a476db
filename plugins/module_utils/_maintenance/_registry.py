# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of maintenance. A new one is one file in `_kinds/`, its name here, and its module.

PRIVATE to the collection; may change without notice.

The imports are spelled out because Ansible ships to a host only what is imported statically. What a kind needs of
libraries, it imports when it is used.
"""

from __future__ import annotations

from ._interface import Kind
from ._kinds._application_update import ApplicationUpdate
from ._kinds._docker_prune import DockerPrune
from ._kinds._host_report import HostReport
from ._kinds._log_report import LogReport
from ._kinds._package_report import PackageReport
from ._kinds._postgresql_purge import PostgresqlPurge
from ._kinds._postgresql_report import PostgresqlReport
from ._kinds._postgresql_terminate import PostgresqlTerminate
from ._kinds._postgresql_vacuum import PostgresqlVacuum
from ._kinds._redis_purge import RedisPurge
from ._kinds._redis_report import RedisReport
from ._kinds._service_report import ServiceReport

_ALL: tuple[type[Kind], ...] = (
    ApplicationUpdate,
    DockerPrune,
    HostReport,
    LogReport,
    PackageReport,
    PostgresqlPurge,
    PostgresqlReport,
    PostgresqlTerminate,
    PostgresqlVacuum,
    RedisPurge,
    RedisReport,
    ServiceReport,
)

KINDS: dict[str, type[Kind]] = {kind.name: kind for kind in _ALL}
