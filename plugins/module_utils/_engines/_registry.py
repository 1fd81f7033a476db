# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engines. A new one is one file beside this one, one import below, its two thin modules and a doc fragment.

PRIVATE to the collection; may change without notice.

The imports are spelled out because Ansible ships to a host only what is imported statically. They stand here and not
in `__init__.py`, which ansible-test of ansible-core 2.17 wants empty.
"""

from __future__ import annotations

from ._files import FilesEngine
from ._interface import Engine
from ._postgresql import PostgresqlEngine
from ._redis import RedisEngine

ENGINES: dict[str, type[Engine]] = {engine.name: engine for engine in (PostgresqlEngine, FilesEngine, RedisEngine)}
