# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the option family `postgresql_login`; the spec is in module_utils/_engines/_pg/_server.py."""

from __future__ import annotations


class ModuleDocFragment:
    """Where a PostgreSQL server is and how to log in: for every module that talks to one."""

    DOCUMENTATION = r"""
options:
  login_host:
    description:
      - Host name or address of the server.
      - Without it, a Unix socket is used (O(login_unix_socket)), unless O(service) says where the server is.
    type: str
  login_port:
    description: Port of the server, of a Unix socket too. The default is 5432, or what O(service) says.
    type: int
  login_unix_socket:
    description:
      - Directory of the server's Unix socket. The default is the one of C(/var/run/postgresql), C(/run/postgresql) and
        C(/tmp) that has a socket for O(login_port).
    type: path
  login_user:
    description: Role to log in as. The default is C(postgres), or what O(service) says.
    type: str
  login_password:
    description:
      - Password of O(login_user). The tools read it from memory that nobody else can read. It appears in no argument,
        environment, log or manifest.
    type: str
  login_password_file:
    description:
      - A file on the host with the password alone, instead of O(login_password).
      - It must belong to root or to the user that the module runs as, and must not be readable by others.
    type: path
  ssl_mode:
    description:
      - How the connection is protected, as C(sslmode) of libpq.
      - Unless said here, V(verify-full) where O(ca_cert) is given, otherwise V(require) for a host that is not this
        one; libpq decides for sockets, for this host and where O(service) is given.
      - V(prefer) falls back to a connection in the clear and V(require) trusts anybody. Over a network use
        V(verify-full) together with O(ca_cert), which alone knows whom it talks to.
    type: str
    choices: [disable, allow, prefer, require, verify-ca, verify-full]
  ca_cert:
    description: File with the certificate authorities that the server's certificate is checked against.
    type: path
  ssl_cert:
    description: File with the client's certificate.
    type: path
  ssl_key:
    description: File with the key of O(ssl_cert). Must not be readable by others.
    type: path
  service:
    description: Name of a connection service, see the chapter on the connection service file in PostgreSQL's manual.
    type: str
  service_file:
    description: The file that defines O(service). The default is libpq's own.
    type: path
  run_as:
    description:
      - User of this host that the PostgreSQL tools run as.
      - The default for a Unix socket is its owner when this runs as root, so that peer authentication works; otherwise
        the user that this runs as.
    type: str
  bin_dir:
    description:
      - Directory with C(pg_dump), C(pg_restore), C(pg_dumpall) and C(psql).
      - By default they are looked for where the packages of distributions put them and in C(PATH); the version of the
        server is preferred, an older one never used.
    type: path
  connect_timeout:
    description: Seconds to wait for a connection.
    type: int
    default: 10
requirements:
  - psycopg >= 3.1 (not for a server in a container, nor where the tools run as another user)
"""
