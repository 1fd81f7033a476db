# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the option family `redis`; the spec is in module_utils/_engines/_redis.py."""

from __future__ import annotations


class ModuleDocFragment:
    """The options that every module of this family takes."""

    DOCUMENTATION = r"""
options:
  login_host:
    description:
      - Host name or address of the server. The default is V(127.0.0.1), unless O(login_unix_socket) is given.
      - With O(container), as it is seen from inside.
    type: str
  login_port:
    description: Port of the server. The default is 6379.
    type: int
  login_unix_socket:
    description: Path of the server's Unix socket. Excludes O(login_host) and O(tls).
    type: path
  login_user:
    description: ACL user to log in as. The default is the server's default user.
    type: str
  login_password:
    description:
      - Password of O(login_user). It appears in no argument, log or manifest.
      - With O(container), the container's own C(redis-cli) gets it in its environment (C(REDISCLI_AUTH)).
    type: str
  login_password_file:
    description: File that holds the password and nothing else. Excludes O(login_password).
    type: path
  tls:
    description: Protect the connection by TLS.
    type: bool
    default: false
  validate_certs:
    description:
      - Check the server's certificate, and that it is for O(login_host).
      - Without it the connection is protected against listeners only, and whoever answers gets the password.
    type: bool
    default: true
  ca_cert:
    description: File with the certificate authorities to trust. The default is the system's.
    type: path
  client_cert:
    description: File with the client's certificate, together with O(client_key).
    type: path
  client_key:
    description: File with the key of O(client_cert).
    type: path
  bin_dir:
    description:
      - Directory with the programs C(redis-server) or C(valkey-server) and their checkers C(redis-check-rdb) or
        C(valkey-check-rdb), which a verification and a restore use. A backup needs none of them.
      - By default they are looked for in C(PATH) and where packages put them.
    type: path
  connect_timeout:
    description: Seconds to wait for a connection, and for the answer to a question.
    type: int
    default: 10
"""
