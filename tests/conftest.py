# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of all tests: real servers, started once a test session and given out clean."""

from __future__ import annotations

import importlib.util
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Protocol

import pytest
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres
from ansible_collections.holdfast.ops.tests.support.seaweed import SeaweedFS
from hypothesis import HealthCheck, settings

# Python 3.9 runs the collection on hosts, but no ansible-core that we support: there, files that import it are left
# out (and `-m "not ansible"` leaves out the tests that run it).
_NEEDS_ANSIBLE = re.compile(
    r"^\s*(from|import) (ansible|jinja2)\b|^\s*from ansible_collections\.holdfast\.ops\.plugins\.(modules|action)\b",
    re.MULTILINE,
)
_HAS_ANSIBLE = importlib.util.find_spec("ansible") is not None


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out what this interpreter cannot import; None lets others decide."""
    if _HAS_ANSIBLE or collection_path.suffix != ".py":
        return None
    return bool(_NEEDS_ANSIBLE.search(collection_path.read_text(encoding="utf-8"))) or None


# A busy machine is no failure: nothing here is judged by the clock.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# For a further interpreter, which shall meet every line rather than every example: `--hypothesis-profile=few`.
settings.register_profile("few", settings.get_profile("steady"), max_examples=15)
settings.load_profile("steady")


class DatabaseFactory(Protocol):
    """Makes an empty database of a unique name; it is dropped, with roles named after it, when the test ends."""

    def __call__(self, server: EmbeddedPostgres, name: str | None = None) -> str:
        """The name of the new database on that server."""


@pytest.fixture(scope="session", autouse=True)
def _no_surroundings() -> Iterator[None]:
    """Tests must not read the developer's own settings, nor behave by the time zone of the machine."""
    patch = pytest.MonkeyPatch()
    for name in list(os.environ):
        if name.startswith(("AWS_", "PG", "HOLDFAST_", "AGE_", "GPG_", "DOCKER_")):
            patch.delenv(name)
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    patch.setenv("AWS_CONFIG_FILE", os.devnull)
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def pg16() -> Iterator[EmbeddedPostgres]:
    """A running PostgreSQL 16."""
    with EmbeddedPostgres(16) as server:
        yield server


@pytest.fixture(scope="session")
def pg18() -> Iterator[EmbeddedPostgres]:
    """A running PostgreSQL 18."""
    with EmbeddedPostgres(18) as server:
        yield server


@pytest.fixture
def database() -> Iterator[DatabaseFactory]:
    """`name = database(pg18)`: a database that is this test's alone."""
    made: list[tuple[EmbeddedPostgres, str]] = []

    def make(server: EmbeddedPostgres, name: str | None = None) -> str:
        name = name or f"t_{uuid.uuid4().hex[:12]}"
        server.create_database(name)
        made.append((server, name))
        return name

    yield make
    for server, name in made:
        server.drop_with_offspring(name)


@pytest.fixture(scope="session")
def seaweed() -> Iterator[SeaweedFS]:
    """A running SeaweedFS: `.endpoint`, `.region`, `.admin` / `.writer` / `.reader` / `.lister` / `.stranger`."""
    with SeaweedFS() as store:
        yield store


@pytest.fixture
def bucket(seaweed: SeaweedFS) -> Iterator[str]:
    """A fresh bucket of the session's store."""
    name = seaweed.create_bucket()
    yield name
    seaweed.drop_bucket(name)


@pytest.fixture
def buckets(seaweed: SeaweedFS) -> Iterator[Callable[[], str]]:
    """As many fresh buckets as wanted: `first, second = buckets(), buckets()`."""
    made: list[str] = []

    def make() -> str:
        made.append(seaweed.create_bucket())
        return made[-1]

    yield make
    for name in made:
        seaweed.drop_bucket(name)
