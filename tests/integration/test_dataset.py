# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The realistic dataset is what it claims, and `describe` notices every kind of difference."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from ansible_collections.holdfast.ops.tests.support.dataset import ARCHIVE, ODD_TABLE, describe, load_realistic
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres


@pytest.fixture(params=[16, 18])
def server(request: pytest.FixtureRequest) -> EmbeddedPostgres:
    return request.getfixturevalue(f"pg{request.param}")


def test_it_loads_every_kind_of_object_and_the_same_rows_each_time(server: EmbeddedPostgres, database: Any) -> None:
    first, second = database(server), database(server)
    load_realistic(server, first, rows=200)
    load_realistic(server, second, rows=200)
    one, other = describe(server, first), describe(server, second)
    assert all(one.values()), f"no {[kind for kind, rows in one.items() if not rows]}"
    assert one["rows"] == other["rows"]
    counts = {name: count for name, count, _digest in one["rows"]}
    assert counts["app.documents"] == 196
    assert sum(count for name, count in counts.items() if ".events" in name) == 202


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("UPDATE app.documents SET body = 'other' WHERE id = 2", "rows"),
        (f"""DELETE FROM "{ARCHIVE}"."{ODD_TABLE.replace('"', '""')}" WHERE ctid = '(0,1)'""", "rows"),
        ("SELECT nextval('app.invoice_numbers')", "sequences"),
        ("DROP INDEX app.documents_failed", "indexes"),
        ("REVOKE SELECT ON app.customers FROM PUBLIC; GRANT DELETE ON app.customers TO PUBLIC", "relations"),
        ("COMMENT ON TABLE app.customers IS 'other'", "relations"),
        ("ALTER TABLE app.documents DISABLE TRIGGER documents_touch", "triggers"),
        ("SELECT lo_put(oid, 0, 'x') FROM pg_largeobject_metadata", "large objects"),
        ("DROP POLICY solvent ON app.customers", "policies"),
        ("ALTER TYPE app.state ADD VALUE 'lost'", "types"),
    ],
)
def test_describe_notices(pg18: EmbeddedPostgres, database: Any, change: str, kind: str) -> None:
    name = database(pg18)
    load_realistic(pg18, name, rows=60)
    before = describe(pg18, name)
    assert describe(pg18, name) == before
    pg18.psql(change, name)
    after = describe(pg18, name)
    changed = [key for key in before if before[key] != after[key]]
    assert changed == (["relations", "columns", "indexes"] if kind == "indexes" else [kind])


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("ALTER DATABASE {} RESET statement_timeout", "settings"),
        ("GRANT TEMPORARY ON DATABASE {} TO PUBLIC", "database"),
        ("COMMENT ON DATABASE {} IS NULL", "database"),
        ("ALTER DATABASE {} CONNECTION LIMIT 5", "database"),
    ],
)
def test_describe_notices_what_belongs_to_the_database(
    pg18: EmbeddedPostgres, database: Any, change: str, kind: str
) -> None:
    name = database(pg18)
    load_realistic(pg18, name, rows=60)
    before = describe(pg18, name)
    pg18.psql(change.format(name), name)
    after = describe(pg18, name)
    assert [key for key in before if before[key] != after[key]] == [kind]


def test_the_tools_own_dump_and_restore_is_equal_by_description(pg18: EmbeddedPostgres, database: Any) -> None:
    """What pg_dump --create | psql gives back under the same name must be equal, or no restore of ours ever could."""
    name = database(pg18)
    load_realistic(pg18, name, rows=200)
    before = describe(pg18, name)
    dump = subprocess.run(
        [pg18.bin("pg_dump"), "--create", pg18.dsn(name)],
        capture_output=True,
        check=True,
        env=pg18.env,
        encoding="utf-8",
    ).stdout
    pg18.drop_database(name)
    subprocess.run(
        [pg18.bin("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres"],
        input=dump,
        capture_output=True,
        check=True,
        env=pg18.env,
        encoding="utf-8",
    )
    assert describe(pg18, name) == before
