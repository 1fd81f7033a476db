# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""postgresql_purge: the old rows go and no other, no transaction is long, and no moment loses a row."""

from __future__ import annotations

import contextlib
import io
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._server import Server
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._sql import Session
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._pg._purge_archive import (
    FileArchive,
    open_archives,
    settle,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._pg._purge_target import (
    Declared,
    Target,
    resolve,
)
from ansible_collections.holdfast.ops.tests.conftest import DatabaseFactory
from ansible_collections.holdfast.ops.tests.support.postgres_tasks import Place, codes, wait_until

MODULE = "postgresql_purge"
OLD = {"column": "at", "older_than": "30d"}
EVENTS = {"table": "public.events", **OLD, "pause": 0}


@pytest.fixture(params=[16, 18])
def place(request: pytest.FixtureRequest, database: DatabaseFactory) -> Place:
    server = request.getfixturevalue(f"pg{request.param}")
    return Place(server, database(server))


@pytest.fixture
def only(pg18: Any, database: DatabaseFactory) -> Place:
    """For what takes long, or does not depend on the version."""
    return Place(pg18, database(pg18))


def events(place: Place, old: int = 900, young: int = 100, kind: str = "timestamptz") -> None:
    """A table with values that CSV might spoil; the ids of old rows come first, NULL is never old."""
    place.psql(
        f"CREATE TABLE events (id int PRIMARY KEY, at {kind}, note text, raw bytea, amount numeric, tags text[],"
        " twice int GENERATED ALWAYS AS (id * 2) STORED);"
        f"INSERT INTO events SELECT g, CASE WHEN g <= {old} THEN now() - interval '31 d' - g * interval '1 min'"
        f" WHEN g % 2 = 0 THEN now() END, CASE g % 5 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN E'a,\"b\"\\n\\nc\\\\.'"
        " WHEN 3 THEN E'\\\\N ünïcode' ELSE g::text END, decode(md5(g::text), 'hex'),"
        " CASE WHEN g % 7 = 0 THEN 'NaN' ELSE g / 7.0 END, ARRAY['x', NULL, 'y\"z']"
        f" FROM generate_series(1, {old + young}) g"
    )


HASH = "SELECT count(*) || md5(coalesce(string_agg(t::text, '|' ORDER BY id), '')) FROM {} t {}"


def digest(place: Place, table: str = "events", where: str = "") -> str:
    return str(place.value(HASH.format(table, where)))


def load(place: Place, directory: Path) -> str:
    """The archive's files, loaded into a table like the one that they are of."""
    place.psql("CREATE TABLE IF NOT EXISTS loaded (LIKE events INCLUDING GENERATED)")
    with place.connect() as connection:
        for path in sorted(directory.glob("*.csv.zst")):
            text = (
                zstandard.ZstdDecompressor()
                .stream_reader(io.BytesIO(path.read_bytes()), read_across_frames=True)
                .read()
            )
            columns = text.partition(b"\n")[0].decode()
            with connection.cursor().copy(f"COPY loaded ({columns}) FROM STDIN (FORMAT csv, HEADER)") as copy:
                copy.write(text)
    return "loaded"


def slow(place: Place, seconds: float) -> None:
    """Deleting a row takes so long."""
    place.psql(
        f"CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep({seconds});"
        " RETURN OLD; END $$; CREATE TRIGGER slow BEFORE DELETE ON events FOR EACH ROW EXECUTE FUNCTION slow()"
    )


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date"])
def test_the_old_rows_go_and_no_other_and_a_second_run_changes_nothing(place: Place, kind: str) -> None:
    events(place, kind=kind)
    if kind == "timestamp":
        place.psql("CREATE INDEX ON events (at)")
    rest = digest(place, where="WHERE id > 900")

    plan = place.run(MODULE, check=True, **EVENTS)
    assert (plan["changed"], plan["rows"]) == (True, 900)
    assert place.value("SELECT count(*) FROM events") == 1000

    done = place.run(MODULE, **EVENTS)
    assert (done["changed"], done["deleted"], done["complete"]) == (True, 900, True)
    assert done["tables"][0]["remaining"] == 0
    assert digest(place) == rest
    assert not place.run(MODULE, **EVENTS)["changed"]


def test_an_archive_file_holds_exactly_what_was_deleted(place: Place, tmp_path: Path) -> None:
    events(place)
    old = digest(place, where="WHERE id <= 900")
    directory = tmp_path / "purged"
    done = place.run(MODULE, archive_directory=str(directory), **EVENTS)
    (path,) = directory.iterdir()
    assert done["tables"][0]["archive"] == str(path)
    assert (directory.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    assert digest(place, load(place, directory)) == old
    assert place.value("SELECT count(*) FROM events") == 100
    assert not place.run(MODULE, archive_directory=str(directory), **EVENTS)["changed"]
    assert list(directory.iterdir()) == [path]


def test_an_archive_table_holds_exactly_what_was_deleted(place: Place) -> None:
    events(place)
    old = digest(place, where="WHERE id <= 900")
    columns = "id, at, note, raw, amount, tags, id * 2 AS twice"
    done = place.run(MODULE, archive_table="public.kept", **EVENTS)
    assert done["deleted"] == 900
    assert "archive_made" in codes(done)
    place.psql(f"CREATE VIEW kept_whole AS SELECT {columns} FROM kept")
    assert digest(place, "kept_whole") == old
    place.psql("CREATE TABLE narrow (id int)")
    assert place.fail(MODULE, check=True, archive_table="nowhere.kept", **EVENTS)["error_code"] == "not_found"
    assert place.fail(MODULE, archive_table="narrow", **EVENTS)["error_code"] == "invalid_option"


def test_killed_at_any_moment_no_row_is_lost_and_none_is_archived_twice(only: Place, tmp_path: Path) -> None:
    place = only
    events(place, old=1200)
    everything = digest(place)
    slow(place, 0.002)
    directory = tmp_path / "purged"
    options = {**EVENTS, "archive_directory": str(directory), "batch_size": 20}
    for left in (1100, 700, 400):
        running = place.start(MODULE, **options)
        wait_until(lambda left=left: place.value("SELECT count(*) FROM events") < left, "rows have gone")
        running.signal(signal.SIGKILL)
        assert running.result()["rc"] == -signal.SIGKILL
        place.psql("DROP TABLE IF EXISTS loaded")
        load(place, directory)
        known = "SELECT id FROM events UNION SELECT id FROM loaded"
        assert place.value(f"SELECT count(*) FROM generate_series(1, 1300) g WHERE g NOT IN ({known})") == 0
    done = place.run(MODULE, **options)
    assert done["complete"]
    assert not list(directory.glob("*.journal"))
    place.psql("DROP TABLE loaded")
    load(place, directory)
    assert place.value("SELECT count(*) FROM loaded") == 1200
    place.psql("CREATE VIEW both_of_them AS SELECT * FROM loaded UNION ALL SELECT * FROM events")
    assert digest(place, "both_of_them") == everything


class TestSettling:
    """A run died between the disk and the commit, or between the commit and its own knowledge of it."""

    @pytest.fixture
    def sessions(self, only: Place) -> Iterator[tuple[Session, Session]]:
        events(only, old=50, young=0)
        server = Server(only.options(), "test")
        with contextlib.closing(server), server.connect(only.name) as dying, server.connect(only.name) as next_run:
            yield dying, next_run

    def target(self, session: Session) -> Target:
        return resolve(session, Declared("events", "at", 2592000.0, {}, None, None), 10)

    def batch(self, session: Session, directory: str) -> FileArchive:
        """Everything of a batch up to its commit."""
        archive = FileArchive(directory, session, self.target(session), 10)
        session.execute("BEGIN")
        archive.begin(str(session.value("SELECT pg_current_xact_id()::text AS x")))
        data = session.copy_out(archive.copy_statement("DELETE FROM public.events t WHERE t.id <= 20"))
        assert archive.append(data) == 20
        return archive

    @pytest.mark.parametrize(("end", "archived", "left"), [("ROLLBACK", 0, 50), ("COMMIT", 20, 30)])
    def test_the_server_knows_what_became_of_the_last_batch(
        self, only: Place, sessions: tuple[Session, Session], tmp_path: Path, end: str, archived: int, left: int
    ) -> None:
        dying, next_run = sessions
        directory = open_archives(str(tmp_path / "purged"))
        archive = self.batch(dying, directory)
        if end == "COMMIT":
            dying.execute("COMMIT")
        dying.close()
        archive.finish()
        assert Path(archive.path + ".journal").exists()
        wait_until(lambda: only.value("SELECT count(*) FROM events") == left, "the session has ended")
        (sentence,) = settle(directory, next_run, self.target(next_run), 10)
        assert archive.path in sentence
        load(only, Path(directory))
        assert only.value("SELECT count(*) FROM loaded") == archived
        assert settle(directory, next_run, self.target(next_run), 10) == []

    def test_an_archive_that_others_could_read_is_refused(self, only: Place, tmp_path: Path) -> None:
        events(only, old=10, young=0)
        (tmp_path / "open").mkdir(mode=0o755)
        failed = only.fail(MODULE, archive_directory=str(tmp_path / "open"), **EVENTS)
        assert failed["error_code"] == "invalid_option"
        assert only.value("SELECT count(*) FROM events") == 10


class Watch:
    """The oldest transaction of a purge that anybody could see."""

    def __init__(self, place: Place) -> None:
        self.longest, self.seen = 0.0, 0
        self._place, self._over = place, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        query = (
            "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float, count(*)"
            " FROM pg_stat_activity WHERE application_name = 'holdfast:purge' AND xact_start IS NOT NULL"
        )
        with self._place.connect() as connection:
            while not self._over.wait(0.05):
                age, number = connection.execute(query).fetchone()
                self.longest, self.seen = max(self.longest, age), self.seen + number

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()


def test_no_transaction_is_longer_than_five_seconds_whatever_a_row_costs(only: Place) -> None:
    events(only, old=60)
    slow(only, 0.15)
    with Watch(only) as watch:
        done = only.run(MODULE, batch_size=1000, **EVENTS)  # 9 s of work at once
    assert (done["deleted"], only.value("SELECT count(*) FROM events")) == (60, 100)
    assert watch.seen > 20
    assert 1.0 < watch.longest <= 5.0
    assert done["tables"][0]["longest"] <= 5.0
    assert "triggers" in codes(done)


def test_locked_rows_are_left_and_said(place: Place) -> None:
    events(place)
    with place.connect(autocommit=False) as holder:
        holder.execute("SELECT FROM events WHERE id = 7 FOR UPDATE")
        done = place.run(MODULE, **EVENTS)
        holder.rollback()
    assert (done["deleted"], done["tables"][0]["remaining"]) == (899, 1)
    assert "rows_left" in codes(done)
    assert place.run(MODULE, **EVENTS)["deleted"] == 1


def test_more_rows_than_expected_are_refused(place: Place) -> None:
    events(place)
    assert "would_be_refused" in codes(place.run(MODULE, check=True, most=899, **EVENTS))
    refused = place.fail(MODULE, most=899, **EVENTS)
    assert refused["error_code"] == "refused"
    assert "900 rows would be deleted" in refused["msg"]
    assert place.value("SELECT count(*) FROM events") == 1000
    assert place.run(MODULE, most=900, **EVENTS)["deleted"] == 900


def test_other_columns_decide_too(place: Place) -> None:
    events(place)
    conditions = {"where": {"note": ["", None], "twice": [2, 10, 12, 14]}, "condition": "id < 6 -- and so on"}
    done = place.run(MODULE, **EVENTS, **conditions)
    assert done["deleted"] == 2
    assert place.value(
        "SELECT array_agg(g ORDER BY g) FROM generate_series(1, 1000) g LEFT JOIN events ON id = g WHERE id IS NULL"
    ) == [1, 5]
    assert place.fail(MODULE, **EVENTS, where={"nothing": 1})["error_code"] == "not_found"
    assert place.fail(MODULE, **{**EVENTS, "column": "note"})["error_code"] == "invalid_option"
    assert "wildcards" in place.fail(MODULE, **{**EVENTS, "table": "ev*"})["msg"]


def family(place: Place, action: str) -> None:
    """Projects of which every tenth is old; each old one has three documents, one of them young."""
    place.psql(
        "CREATE TABLE projects (id int PRIMARY KEY, at timestamptz);"
        "CREATE TABLE documents (id int PRIMARY KEY, at timestamptz,"
        f" project int REFERENCES projects ON DELETE {action});"
        "INSERT INTO projects SELECT g, now() - CASE WHEN g % 10 = 0 THEN interval '60 d' ELSE '0' END"
        " FROM generate_series(1, 100) g;"
        "INSERT INTO documents SELECT g, now() - CASE WHEN g % 3 > 0 THEN interval '60 d' ELSE '0' END, g / 3 * 10"
        " FROM generate_series(3, 20) g"
    )


PROJECTS = {"table": "projects", **OLD, "pause": 0}


def test_rows_that_would_go_with_them_are_counted_and_refused_unless_told(place: Place, tmp_path: Path) -> None:
    family(place, "CASCADE")
    plan = place.run(MODULE, check=True, **PROJECTS)
    assert plan["tables"][0]["referring"] == [
        {"table": "public.documents", "constraint": "documents_project_fkey", "effect": "deleted", "rows": 6}
    ]
    assert {"would_be_refused", "reference_without_index"} <= codes(plan)
    refused = place.fail(MODULE, **PROJECTS)
    assert refused["error_code"] == "refused"
    assert "6 rows of public.projects would take with them rows of public.documents" in refused["msg"]
    archive = place.fail(MODULE, cascade=True, archive_directory=str(tmp_path / "purged"), **PROJECTS)
    assert "no archive" in archive["msg"]
    assert place.value("SELECT count(*) FROM documents") == 18
    done = place.run(MODULE, cascade=True, **PROJECTS)
    assert done["deleted"] == 10
    assert place.value("SELECT count(*) FROM documents") == 0
    assert place.value("SELECT count(*) FROM projects") == 90


def test_a_partition_has_the_foreign_keys_of_its_table(place: Place) -> None:
    place.psql(
        "CREATE TABLE events (id int PRIMARY KEY, at timestamptz) PARTITION BY RANGE (id);"
        "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (1000);"
        "CREATE TABLE notes (id int, event int REFERENCES events ON DELETE CASCADE) PARTITION BY RANGE (id);"
        "CREATE TABLE notes_1 PARTITION OF notes DEFAULT;"
        "INSERT INTO events SELECT g, now() - interval '60 d' FROM generate_series(1, 10) g;"
        "INSERT INTO notes VALUES (1, 7)"
    )
    for table in ("events", "events_1"):
        refused = place.fail(MODULE, **{**EVENTS, "table": table})
        assert "1 row of public." in refused["msg"]
        assert "rows of public.notes (deleted by the foreign key" in refused["msg"]
    assert place.value("SELECT count(*) FROM notes") == 1


def test_a_foreign_key_is_compared_as_the_server_compares_it(only: Place) -> None:
    """As with citext: a type of a schema that is on nobody's search_path, whose values are equal in any case."""
    strict = "LANGUAGE {} IMMUTABLE STRICT"
    only.psql(
        "CREATE SCHEMA ext; CREATE TYPE ext.word;"
        f"CREATE FUNCTION ext.word_in(cstring) RETURNS ext.word {strict.format('internal')} AS 'textin';"
        f"CREATE FUNCTION ext.word_out(ext.word) RETURNS cstring {strict.format('internal')} AS 'textout';"
        "CREATE TYPE ext.word (INPUT = ext.word_in, OUTPUT = ext.word_out, LIKE = text, CATEGORY = 'S');"
        "CREATE CAST (ext.word AS text) WITHOUT FUNCTION AS IMPLICIT;"
        f"CREATE FUNCTION ext.compare(a ext.word, b ext.word) RETURNS int {strict.format('sql')}"
        " RETURN bttextcmp(lower(a::text), lower(b::text));"
        + "".join(
            f"CREATE FUNCTION ext.{name}(a ext.word, b ext.word) RETURNS bool {strict.format('sql')}"
            f" RETURN ext.compare(a, b) {sign} 0; CREATE OPERATOR ext.{sign} (LEFTARG = ext.word, RIGHTARG = ext.word,"
            f" FUNCTION = ext.{name}{', MERGES' if sign == '=' else ''});"
            for name, sign in (("lt", "<"), ("le", "<="), ("eq", "="), ("ge", ">="), ("gt", ">"))
        )
        + "CREATE OPERATOR CLASS ext.word_ops DEFAULT FOR TYPE ext.word USING btree AS OPERATOR 1 ext.<,"
        " OPERATOR 2 ext.<=, OPERATOR 3 ext.=, OPERATOR 4 ext.>=, OPERATOR 5 ext.>,"
        " FUNCTION 1 ext.compare(ext.word, ext.word);"
        "CREATE TABLE events (name ext.word PRIMARY KEY, at timestamptz);"
        "CREATE TABLE notes (event ext.word REFERENCES events ON DELETE CASCADE);"
        "INSERT INTO events VALUES ('One', now() - interval '60 d'), ('Two', now() - interval '60 d');"
        "INSERT INTO notes VALUES ('one')"
    )
    assert "1 row of public.events would take with them" in only.fail(MODULE, **EVENTS)["msg"]
    assert only.value("SELECT count(*) FROM notes") == 1


def test_an_archive_that_would_not_hold_what_it_takes_is_refused(only: Place) -> None:
    events(only, old=10)
    only.psql(
        "CREATE TABLE rounded (id int, at date, note varchar(5), raw bytea, amount numeric(6, 2), tags text);"
        "CREATE UNLOGGED TABLE light AS SELECT id, at, note, raw, amount, tags FROM events WITH NO DATA;"
        "CREATE TABLE holds (id text, at timestamptz, note text, raw bytea, amount numeric, tags text)"
    )
    rounded = only.fail(MODULE, archive_table="rounded", **EVENTS)
    assert "at (timestamp with time zone → date)" in rounded["msg"]
    assert "amount (numeric → numeric(6,2))" in rounded["msg"]
    assert "id" not in rounded["msg"].partition("cut: ")[2]
    assert "tags" not in rounded["msg"]
    assert "UNLOGGED" in only.fail(MODULE, archive_table="light", **EVENTS)["msg"]
    assert only.value("SELECT count(*) FROM events") == 110
    assert only.run(MODULE, archive_table="holds", **EVENTS)["deleted"] == 10
    assert only.value("SELECT count(*) FROM holds") == 10


def test_children_go_first_and_rows_that_are_still_referred_to_stay(place: Place) -> None:
    family(place, "RESTRICT")
    place.psql("UPDATE documents SET at = now() - interval '60 d' WHERE project IN (10, 20)")
    both = {"tables": [{"table": "documents", "column": "at"}, {"table": "projects", "column": "at"}]}
    plan = place.run(MODULE, check=True, older_than="30d", **both)
    done = place.run(MODULE, older_than="30d", pause=0, **both)
    # Four of six have a young document left, and four have none at all.
    assert [each["deleted"] for each in done["tables"]] == [14, 6]
    assert plan["rows"] == done["deleted"]
    assert "still_referred" in codes(done)
    assert place.value("SELECT array_agg(id ORDER BY id) FROM projects WHERE at < now() - interval '1 d'") == [
        30,
        40,
        50,
        60,
    ]


def test_a_tree_of_rows_goes_from_its_leaves(only: Place) -> None:
    only.psql(
        "CREATE TABLE events (id int PRIMARY KEY, up int REFERENCES events, at timestamptz);"
        "INSERT INTO events SELECT g, nullif(g - 1, 0), now() - interval '60 d' FROM generate_series(1, 5) g"
    )
    assert only.run(MODULE, **EVENTS)["deleted"] == 5


def test_partitions_on_all_levels(place: Place, tmp_path: Path) -> None:
    place.psql(
        "CREATE TABLE events (id int, at timestamptz, part int) PARTITION BY LIST (part);"
        "CREATE TABLE events_1 PARTITION OF events FOR VALUES IN (1) PARTITION BY RANGE (id);"
        "CREATE TABLE events_1a PARTITION OF events_1 FOR VALUES FROM (0) TO (500);"
        "CREATE TABLE events_1b PARTITION OF events_1 DEFAULT;"
        'CREATE SCHEMA "Other"; CREATE TABLE "Other"."Part 2" PARTITION OF events FOR VALUES IN (2);'
        'CREATE INDEX ON "Other"."Part 2" (at);'
        "INSERT INTO events SELECT g, now() - CASE WHEN g % 4 = 0 THEN interval '0' ELSE '40 d' END, 1 + g % 2"
        " FROM generate_series(1, 1000) g"
    )
    old = digest(place, where="WHERE id % 4 <> 0")
    done = place.run(MODULE, archive_directory=str(tmp_path / "purged"), **EVENTS)
    assert (done["deleted"], place.value("SELECT count(*) FROM events")) == (750, 250)
    assert digest(place, load(place, tmp_path / "purged")) == old


def test_row_security_gives_an_error_and_not_fewer_rows(place: Place) -> None:
    events(place)
    role = place.role("some", "PASSWORD 'some'")
    place.psql(
        f'GRANT ALL ON events TO "{role}"; ALTER TABLE events ENABLE ROW LEVEL SECURITY;'
        f'CREATE POLICY half ON events TO "{role}" USING (id % 2 = 0)'
    )
    login = {"login_host": "127.0.0.1", "login_user": role, "login_password": "some", "login_unix_socket": None}
    assert place.fail(MODULE, **EVENTS, **login)["error_code"] == "permission_denied"
    assert place.value("SELECT count(*) FROM events") == 1000


def test_what_there_was_no_time_for_goes_with_the_next_run(only: Place) -> None:
    events(only, old=300)
    slow(only, 0.01)
    part = only.run(MODULE, max_runtime="1s", batch_size=10, **EVENTS)
    assert not part["complete"]
    assert 0 < part["deleted"] < 300
    assert "no_time_left" in codes(part)
    assert only.value("SELECT count(*) FROM events") == 400 - part["deleted"]
    failed = only.fail(MODULE, max_runtime="1s", batch_size=1, fail_when_incomplete=True, **{**EVENTS, "pause": 0.5})
    assert failed["error_code"] == "timeout"
    only.psql("DROP TRIGGER slow ON events")
    assert only.run(MODULE, **EVENTS)["complete"]
    assert only.value("SELECT count(*) FROM events") == 100


def test_a_trigger_that_keeps_rows_is_told(only: Place) -> None:
    events(only, old=20)
    only.psql(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER keep BEFORE DELETE ON events FOR EACH ROW EXECUTE FUNCTION keep()"
    )
    only.psql("CREATE INDEX ON events (at)")
    failed = only.fail(MODULE, batch_size=5, **EVENTS)
    assert failed["error_code"] == "refused"
    assert "keep" in failed["msg"]
