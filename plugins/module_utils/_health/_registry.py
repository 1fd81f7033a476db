# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of checks. A new one is one file in `_kinds/` and its name here.

PRIVATE to the collection; may change without notice.

The imports are spelled out because Ansible ships to a host only what is imported statically. What a kind needs of
libraries, it imports when it is used.
"""

from __future__ import annotations

from ._interface import Kind
from ._kinds._backup import BackupCheck
from ._kinds._celery import CeleryCheck
from ._kinds._command import CommandCheck
from ._kinds._cpu import CpuCheck
from ._kinds._disk import DiskCheck
from ._kinds._dns import DnsCheck
from ._kinds._docker import DockerCheck
from ._kinds._gpu import GpuCheck
from ._kinds._http import HttpCheck
from ._kinds._inodes import InodesCheck
from ._kinds._load import LoadCheck
from ._kinds._memory import MemoryCheck
from ._kinds._model_files import ModelFilesCheck
from ._kinds._nginx import NginxCheck
from ._kinds._pm2 import Pm2Check
from ._kinds._postgresql import PostgresqlCheck
from ._kinds._process import ProcessCheck
from ._kinds._python import PythonCheck
from ._kinds._redis import RedisCheck
from ._kinds._swap import SwapCheck
from ._kinds._systemd import SystemdCheck
from ._kinds._tcp import TcpCheck

KINDS: dict[str, type[Kind]] = {
    kind.name: kind
    for kind in (
        BackupCheck,
        CeleryCheck,
        CommandCheck,
        CpuCheck,
        DiskCheck,
        DnsCheck,
        DockerCheck,
        GpuCheck,
        HttpCheck,
        InodesCheck,
        LoadCheck,
        MemoryCheck,
        ModelFilesCheck,
        NginxCheck,
        Pm2Check,
        PostgresqlCheck,
        ProcessCheck,
        PythonCheck,
        RedisCheck,
        SwapCheck,
        SystemdCheck,
        TcpCheck,
    )
}
