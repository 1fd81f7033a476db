# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the catalogue says of a kind of exporter, and what a user declared of one.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._spec import Spec

PACKAGE, ARCHIVE = "package", "archive"
INSTALL_METHODS = (PACKAGE, ARCHIVE)

NO_TLS, SELF_SIGNED, FILES = "none", "self_signed", "files"
TLS_MODES = (NO_TLS, SELF_SIGNED, FILES)

TOOLKIT, REDIS, CADVISOR = "toolkit", "redis", "cadvisor"
"""How an exporter is told where to listen and how to protect that: exporter-toolkit's file, or flags of its own."""


@dataclass(frozen=True)
class Package:
    """A package of Debian's.

    Attributes:
        name: of the package; its own unit is called the same.
        program: the path of the program that it brings.
    """

    name: str
    program: str

    @property
    def unit(self) -> str:
        return f"{self.name}.service"


@dataclass(frozen=True)
class Upstream:
    """What the project itself publishes.

    Attributes:
        program: the name of the program in the archive.
        url: with `{version}` and `{arch}` (Go's names: amd64, arm64). One that does not end in .tar.gz is the program.
        pins: version → architecture → SHA-256 of what the URL gives; the first version is the default.
    """

    program: str
    url: str
    pins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def default_version(self) -> str | None:
        return next(iter(self.pins), None)


@dataclass(frozen=True)
class Item:
    """A part of a command line, of an environment or of a unit, made of options of the exporter.

    Attributes:
        text: with `{option}` for values of options, and `{item}` for an element of `each`.
        when, unless: the option that must have a value, or none; empty for always.
        each: the option, a list, for each element of which this is written once.
    """

    text: str
    when: str = ""
    unless: str = ""
    each: str = ""


@dataclass(frozen=True)
class Config:
    """A configuration file of the exporter: the value of an option, as JSON, which YAML takes.

    Attributes:
        option: whose value it is.
        key: the key of the file below which the value stands.
        flag: the argument that names the file.
        check: arguments with which the program judges the file and ends; none when it cannot.
    """

    option: str
    key: str
    flag: str
    check: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proof:
    """What a scrape must show.

    Attributes:
        metric: its name.
        means: in a person's words, what it means when the value is another; `{}` is the value of the label.
        value: that each sample must have.
        label: the label that tells the samples apart; empty for the only one.
        values: of the label that must be there; none means all that are there.
        added, without: options that are lists of further values, and of values that are not wanted.
        vital: the exporter itself is broken; otherwise what it looks at may only not be there yet.
    """

    metric: str
    means: str
    value: float = 1.0
    label: str = ""
    values: tuple[str, ...] = ()
    added: str = ""
    without: str = ""
    vital: bool = False


@dataclass(frozen=True)
class Kind:
    """A kind of exporter: one entry of the catalogue.

    Attributes:
        title: in a person's words.
        port: that it listens on unless told otherwise.
        package, upstream: where the program comes from; at least one of the two.
        web: how it is told where to listen: one of the constants above.
        web_flag: the argument that names exporter-toolkit's file.
        options: its own, in Ansible's form, with the types of `_declaration._spec.KINDS`.
        constraints: between these options.
        arguments, environment: what it is started with. The environment goes into a file of root's, for it may hold
            secrets.
        config: its configuration file.
        password_flag: the argument that names a file of passwords by address, which takes the place of `config`; empty
            for an exporter that gets `login_password` by its environment.
        unit: directives that differ from the hardening of all (`_unit.HARDENING`); None takes one away.
        groups: of the host that its account belongs to besides its own.
        proofs: what a scrape must show.
        role_unless: the option without which its account needs a role in the PostgreSQL server; empty for no role.
    """

    title: str
    port: int
    package: Package | None = None
    upstream: Upstream | None = None
    web: str = TOOLKIT
    web_flag: str = "--web.config.file"
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    constraints: Spec = field(default_factory=Spec)
    arguments: tuple[Item, ...] = ()
    environment: tuple[Item, ...] = ()
    config: Config | None = None
    password_flag: str = ""
    unit: Mapping[str, str | None] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    proofs: tuple[Proof, ...] = ()
    role_unless: str = ""


@dataclass(frozen=True)
class Archive:
    """A version of what a project publishes, as declared.

    Attributes:
        url: where the host downloads it from.
        path: a file on the host to take instead; empty for none.
        checksums: architecture → SHA-256.
    """

    version: str
    url: str
    path: str
    checksums: Mapping[str, str]


@dataclass(frozen=True)
class Exporter:
    """A declared exporter, checked, with the defaults filled in.

    Attributes:
        address, port: that it listens on.
        tls: one of `TLS_MODES`.
        certificate, key: files of the host, with `tls: files`.
        users: name → password of those who may scrape it; nobody is asked when there are none.
        archive: None for a package.
        arguments: of the user's own.
        options: of its kind.
    """

    name: str
    kind: str
    address: str
    port: int
    tls: str
    certificate: str
    key: str
    users: Mapping[str, str] = field(repr=False)
    archive: Archive | None
    arguments: tuple[str, ...]
    options: Mapping[str, Any] = field(repr=False)

    @property
    def account(self) -> str:
        """The system user that it runs as."""
        return f"exporter-{self.name}"

    @property
    def unit(self) -> str:
        return f"holdfast-exporter-{self.name}.service"
