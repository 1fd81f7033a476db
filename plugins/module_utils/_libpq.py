# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How every connection to a PostgreSQL server is protected, whoever makes it.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations


def default_ssl_mode(host: str | None, ca_cert: str | None) -> str | None:
    """TLS unless told otherwise where a network is crossed; libpq's own default falls back to clear text there."""
    if not host or host.startswith(("/", "127.")) or host in ("localhost", "::1"):
        return None
    return "verify-full" if ca_cert else "require"
