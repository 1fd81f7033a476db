# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS is on where a network is crossed, and only there."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._server import Server
from ansible_collections.holdfast.ops.plugins.module_utils._libpq import default_ssl_mode


@pytest.mark.parametrize(
    ("host", "ca_cert", "mode"),
    [
        (None, None, None),
        ("/run/postgresql", None, None),
        ("localhost", None, None),
        ("127.0.0.1", None, None),
        ("::1", None, None),
        ("db.example.com", None, "require"),
        ("192.0.2.7", None, "require"),
        ("db.example.com", "/etc/ca.pem", "verify-full"),
    ],
)
def test_the_default_depends_on_what_is_crossed(host: str | None, ca_cert: str | None, mode: str | None) -> None:
    assert default_ssl_mode(host, ca_cert) == mode


def test_it_reaches_the_connection_unless_the_user_says_otherwise() -> None:
    def mode(**options: str) -> object:
        server = Server({"login_host": "db.example.com", "login_port": 5432, **options}, "shop")
        return server.parameters("shop").get("sslmode")

    assert mode() == "require"
    assert mode(ssl_mode="disable") == "disable"
