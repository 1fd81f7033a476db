# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of exporters. A new kind is one entry here; the parser, the module and the role read it.

PRIVATE to the collection; may change without notice.

Pins: projects publish checksums beside what they are the checksums of, so whoever can change one changes both. Those
here were taken from what others have pinned in their own repositories, at least two of them independent of each other
and agreeing on version, architecture and value; the comment names them. Where two did not agree, or only one was found,
nothing is pinned, and whoever declares such a version has to say the checksum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._spec import Spec
from ._model import CADVISOR, REDIS, Config, Item, Kind, Package, Proof, Upstream

_GITHUB = "https://github.com"

_COLLECTORS: Mapping[str, Mapping[str, Any]] = {
    "collectors": {"type": "list", "elements": "str", "default": []},
    "no_collectors": {"type": "list", "elements": "str", "default": []},
}
_COLLECTOR_FLAGS = (Item("--collector.{item}", each="collectors"), Item("--no-collector.{item}", each="no_collectors"))

_SECRET: Mapping[str, Mapping[str, Any]] = {
    "login_password": {"type": "str", "no_log": True},
    "login_password_file": {"type": "path", "no_log": False},
}

# Whoever looks at all processes or file systems of a host cannot be kept from seeing them.
_SEES_THE_HOST: Mapping[str, str | None] = {
    "ProcSubset": None,
    "ProtectProc": None,
    "ProtectHome": "read-only",  # or file systems mounted below /home would be missing
}

KINDS: Mapping[str, Kind] = {
    "node": Kind(
        title="the host: processors, memory, disks, network, units of systemd",
        port=9100,
        package=Package("prometheus-node-exporter", "/usr/bin/prometheus-node-exporter"),
        upstream=Upstream(
            "node_exporter",
            _GITHUB
            + "/prometheus/node_exporter/releases/download/v{version}/node_exporter-{version}.linux-{arch}.tar.gz",
            {
                # zulip/zulip (puppet/zulip/manifests/common.pp), openstack/kolla (kolla/common/sources.py),
                # boxcutter/boxcutter-chef-cookbooks (boxcutter_prometheus/attributes/default.rb)
                "1.10.2": {
                    "amd64": "c46e5b6f53948477ff3a19d97c58307394a29fe64a01905646f026ddc32cb65b",
                    "arm64": "de69ec8341c8068b7c8e4cfe3eb85065d24d984a3b33007f575d307d13eb89a6",
                },
                # the same three
                "1.9.1": {
                    "amd64": "becb950ee80daa8ae7331d77966d94a611af79ad0d3307380907e0ec08f5b4e8",
                    "arm64": "848f139986f63232ced83babe3cad1679efdbb26c694737edc1f4fbd27b96203",
                },
            },
        ),
        options={**_COLLECTORS, "textfile_dir": {"type": "path"}},
        arguments=(
            Item("--collector.systemd"),
            Item("--collector.textfile.directory={textfile_dir}", when="textfile_dir"),
            *_COLLECTOR_FLAGS,
        ),
        unit={
            **_SEES_THE_HOST,
            # The collector timex asks the kernel how well the clock is kept; asking and setting are one system call.
            "ProtectClock": None,
            "SystemCallFilter": "@system-service adjtimex clock_adjtime",
            # systemd is asked over D-Bus, and the collector netdev over netlink.
            "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        },
        proofs=(
            Proof(
                "node_scrape_collector_success",
                "the collector {} fails",
                label="collector",
                values=(
                    "cpu",
                    "diskstats",
                    "filefd",
                    "filesystem",
                    "loadavg",
                    "meminfo",
                    "netdev",
                    "stat",
                    "systemd",
                    "textfile",
                    "time",
                    "timex",
                    "uname",
                    "vmstat",
                ),
                added="collectors",
                without="no_collectors",
                vital=True,
            ),
        ),
    ),
    "postgres": Kind(
        title="a PostgreSQL server",
        port=9187,
        package=Package("prometheus-postgres-exporter", "/usr/bin/prometheus-postgres-exporter"),
        upstream=Upstream(
            "postgres_exporter",
            _GITHUB + "/prometheus-community/postgres_exporter/releases/download/v{version}/"
            "postgres_exporter-{version}.linux-{arch}.tar.gz",
            {
                # zulip/zulip, boxcutter/boxcutter-chef-cookbooks (as above)
                "0.17.1": {
                    "amd64": "6da7d2edafd69ecceb08addec876786fa609849f6d5f903987c0d61c3fc89506",
                    "arm64": "405af4e838a3d094d575e5aaeac43bd0a1818aaf2c840a3c8fc2c6fcc77218dc",
                },
            },
        ),
        options={
            **_COLLECTORS,
            "login_unix_socket": {"type": "path", "default": "/var/run/postgresql"},
            "login_host": {"type": "str"},
            "login_port": {"type": "int", "default": 5432},
            "login_user": {"type": "str"},
            **_SECRET,
            "ssl_mode": {
                "type": "str",
                "choices": ["disable", "require", "verify-ca", "verify-full"],
                "default": "require",
            },
            "database": {"type": "name", "default": "postgres"},
        },
        constraints=Spec(
            mutually_exclusive=[["login_host", "login_unix_socket"], ["login_password", "login_password_file"]],
            required_by={
                "login_host": ["login_user"],
                "login_user": ["login_host"],
                "login_password": ["login_host"],
                "login_password_file": ["login_host"],
                "ssl_mode": ["login_host"],
            },
        ),
        arguments=_COLLECTOR_FLAGS,
        environment=(
            # On the socket the kernel says who asks, so there is no password that could be lost.
            Item(
                "DATA_SOURCE_NAME=host={login_unix_socket} port={login_port} user={account} dbname={database}"
                " sslmode=disable",
                unless="login_host",
            ),
            Item("DATA_SOURCE_URI={login_host}:{login_port}/{database}?sslmode={ssl_mode}", when="login_host"),
            Item("DATA_SOURCE_USER={login_user}", when="login_host"),
            Item("DATA_SOURCE_PASS={login_password}", when="login_password"),
        ),
        proofs=(
            Proof("pg_up", "the server does not answer it"),
            Proof("pg_scrape_collector_success", "the collector {} fails", label="collector"),
        ),
        role_unless="login_host",
    ),
    "redis": Kind(
        title="a Redis or Valkey server",
        port=9121,
        package=Package("prometheus-redis-exporter", "/usr/bin/prometheus-redis-exporter"),
        # Not pinned: of 1.81.0 two repositories have different checksums, of other versions only one was found.
        upstream=Upstream(
            "redis_exporter",
            _GITHUB + "/oliver006/redis_exporter/releases/download/v{version}/"
            "redis_exporter-v{version}.linux-{arch}.tar.gz",
        ),
        web=REDIS,
        # Not as a variable: whoever asks it for /scrape?target=… would have the password sent to a server of his own.
        password_flag="--redis.password-file",
        options={
            "address": {"type": "str", "default": "redis://127.0.0.1:6379"},
            "login_user": {"type": "str"},
            **_SECRET,
        },
        constraints=Spec(mutually_exclusive=[["login_password", "login_password_file"]]),
        environment=(
            Item("REDIS_ADDR={address}"),
            Item("REDIS_USER={login_user}", when="login_user"),
        ),
        proofs=(Proof("redis_up", "the server does not answer it"),),
    ),
    "blackbox": Kind(
        title="probes from outside: HTTP, TCP, ICMP, DNS",
        port=9115,
        package=Package("prometheus-blackbox-exporter", "/usr/bin/prometheus-blackbox-exporter"),
        upstream=Upstream(
            "blackbox_exporter",
            _GITHUB + "/prometheus/blackbox_exporter/releases/download/v{version}/"
            "blackbox_exporter-{version}.linux-{arch}.tar.gz",
            {
                # boxcutter/boxcutter-chef-cookbooks (as above), the RPM specifications of packages@thesystem.dev; amd64
                # also Arch Linux's AUR
                "0.26.0": {
                    "amd64": "4b1bb299c685ecff75d41e55e90aae8e02a658395fb14092c7f9c5c9d75016c7",
                    "arm64": "afb5581b1d4ea45078eebc96e4f989f912d1144d2cc131db8a6c0963bcc6a654",
                },
            },
        ),
        options={
            "modules": {
                "type": "dict",
                "default": {
                    "http_2xx": {"prober": "http"},
                    "http_post_2xx": {"prober": "http", "http": {"method": "POST"}},
                    "tcp_connect": {"prober": "tcp"},
                    "icmp": {"prober": "icmp"},
                },
            },
        },
        config=Config("modules", "modules", "--config.file", check=("--config.check",)),
        # Debian 12 lets nobody else ping; without, such a probe would fail whatever its target does.
        unit={"CapabilityBoundingSet": "CAP_NET_RAW", "AmbientCapabilities": "CAP_NET_RAW"},
        proofs=(
            Proof("blackbox_exporter_config_last_reload_successful", "its configuration was not taken", vital=True),
        ),
    ),
    "process": Kind(
        title="groups of processes: how many, and what they use",
        port=9256,
        package=Package("prometheus-process-exporter", "/usr/bin/prometheus-process-exporter"),
        upstream=Upstream(
            "process-exporter",
            _GITHUB + "/ncabatoff/process-exporter/releases/download/v{version}/"
            "process-exporter-{version}.linux-{arch}.tar.gz",
            {
                # zulip/zulip (as above), ScyllaDB's machine image (its script of dependencies)
                "0.8.7": {
                    "amd64": "6d274cca5e94c6a25e55ec05762a472561859ce0a05b984aaedb67dd857ceee2",
                    "arm64": "4a2502f290323e57eeeb070fc10e64047ad0cd838ae5a1b347868f75667b5ab0",
                },
            },
        ),
        options={
            "process_names": {
                "type": "list",
                "elements": "dict",
                "default": [{"name": "{{.Comm}}", "cmdline": [".+"]}],
            },
        },
        config=Config("process_names", "process_names", "--config.path"),
        # smaps belong to who owns the process; asking for those of others only counts errors.
        arguments=(Item("--gather-smaps=false"),),
        unit=_SEES_THE_HOST,
        proofs=(Proof("namedprocess_scrape_errors", "it cannot look at the processes", value=0.0, vital=True),),
    ),
    "pgbackrest": Kind(
        title="backups of pgBackRest",
        port=9854,
        package=Package("prometheus-pgbackrest-exporter", "/usr/bin/prometheus-pgbackrest-exporter"),
        upstream=Upstream(
            "pgbackrest_exporter",
            _GITHUB + "/woblerr/pgbackrest_exporter/releases/download/v{version}/"
            "pgbackrest_exporter-{version}-linux-{arch}.tar.gz",
        ),
        options={
            "interval": {"type": "int", "default": 600},
            "config_file": {"type": "path"},
            "stanzas": {"type": "list", "elements": "name", "default": []},
        },
        arguments=(
            Item("--collect.interval={interval}"),
            Item("--backrest.config={config_file}", when="config_file"),
            Item("--backrest.stanza-include={item}", each="stanzas"),
        ),
        # It calls pgbackrest, whose own log it could not write.
        environment=(Item("PGBACKREST_LOG_LEVEL_FILE=off"), Item("PGBACKREST_LOG_PATH=/tmp")),
        # The repository and the configuration are the server's.
        groups=("postgres",),
        proofs=(Proof("pgbackrest_stanza_status", "the stanza {} is not well", value=0.0, label="stanza"),),
    ),
    "mongodb": Kind(
        title="a MongoDB server",
        port=9216,
        # Debian's package is another program, with other names of metrics.
        upstream=Upstream(
            "mongodb_exporter",
            _GITHUB + "/percona/mongodb_exporter/releases/download/v{version}/"
            "mongodb_exporter-{version}.linux-{arch}.tar.gz",
            {
                # the RPM specifications of packages@thesystem.dev, and an Ansible role for MongoDB that pins both
                "0.51.0": {
                    "amd64": "01dfae78c737fb48761a715d779cade464a84cce7a2a70357ac4af469bade198",
                    "arm64": "f2f023d2d632c3b9cdc873558f26a8940efc197c1b36bbf96da17416a60eead6",
                },
            },
        ),
        web_flag="--web.config",
        options={
            "address": {"type": "str", "default": "mongodb://127.0.0.1:27017"},
            "login_user": {"type": "str"},
            **_SECRET,
            "compatible_mode": {"type": "bool", "default": False},
        },
        constraints=Spec(mutually_exclusive=[["login_password", "login_password_file"]]),
        arguments=(Item("--collect-all"), Item("--compatible-mode", when="compatible_mode")),
        environment=(
            Item("MONGODB_URI={address}"),
            Item("MONGODB_USER={login_user}", when="login_user"),
            Item("MONGODB_PASSWORD={login_password}", when="login_password"),
        ),
        proofs=(Proof("mongodb_up", "the server does not answer it"),),
    ),
    "cadvisor": Kind(
        title="containers of Docker",
        port=8080,
        upstream=Upstream(
            "cadvisor",
            _GITHUB + "/google/cadvisor/releases/download/v{version}/cadvisor-v{version}-linux-{arch}",
            {
                # openstack/kolla (as above), Arch Linux's AUR; arm64 only the first. Docker 29 needs a newer one.
                "0.53.0": {"amd64": "999c2c77b3ae80ea00b63a876a1ed92cc68e0a307fb3c51057107101e417bd0a"},
            },
        ),
        web=CADVISOR,
        arguments=(Item("--docker_only"),),
        unit={**_SEES_THE_HOST, "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK"},
        # Whoever may talk to Docker may do everything on the host: there is no other way to look at containers.
        groups=("docker",),
    ),
}
