# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand: a real PostgreSQL 16 with the two datasets, a real SeaweedFS, and a directory to work in."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from ..support.postgres import EmbeddedPostgres
from ..support.seaweed import SeaweedFS
from .measure import say

PGBENCH_SCALE = 100
"""1.5 GB on disk: ten million rows with hardly any entropy."""

REALISTIC_ROWS = 480_000
"""Documents; with their chunks and events a plain dump of 1.3 GB, which zstd -1 makes a third of."""

_SETTINGS = {
    "shared_buffers": "512MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    "autovacuum": "off",  # it would run in one contestant's time and not in the other's
    "jit": "off",
}

_REALISTIC = """
CREATE TABLE documents (id bigint PRIMARY KEY, owner int NOT NULL, title text NOT NULL, body text NOT NULL,
    meta jsonb NOT NULL, created_at timestamptz NOT NULL) PARTITION BY HASH (id);
CREATE TABLE chunks (id bigint PRIMARY KEY, document_id bigint NOT NULL, content text NOT NULL, embedding float4[])
    PARTITION BY HASH (id);
CREATE TABLE events (id bigint PRIMARY KEY, document_id bigint NOT NULL, kind text NOT NULL, payload jsonb NOT NULL,
    at timestamptz NOT NULL) PARTITION BY HASH (id);
DO $$ DECLARE parent text; part int; BEGIN
    FOREACH parent IN ARRAY ARRAY['documents', 'chunks', 'events'] LOOP FOR part IN 0..3 LOOP
        EXECUTE format('CREATE TABLE %1$s_%2$s PARTITION OF %1$s FOR VALUES WITH (MODULUS 4, REMAINDER %2$s)',
            parent, part);
    END LOOP; END LOOP;
END $$;
SELECT setseed(0.42);
INSERT INTO documents SELECT n, n % 5000, 'Re: ' || substr(prose, 1 + n % 900, 40), substr(prose, 1 + n % 1100, 900),
    jsonb_build_object('lang', (ARRAY['de', 'en', 'zh'])[1 + n % 3], 'pages', n % 40,
        'sha256', encode(sha256(n::text::bytea), 'hex'), 'tags', jsonb_build_array('t' || n % 17, 't' || n % 211),
        'source', 'https://example.com/inbox/' || n, 'state', 'archived',
        'author', jsonb_build_object('id', n % 5000, 'mail', 'user' || n % 5000 || '@example.com'),
        'retention', jsonb_build_object('years', 10, 'from', '2026-01-01'),
        'ocr', jsonb_build_object('engine', 'tesseract 5', 'confidence', n % 100 / 100.0)),
    timestamptz '2026-01-01 00:00+00' + n * interval '31 seconds'
    FROM generate_series(1, {rows}) AS n JOIN pool ON pool.id = n::bigint * 7919 % {pool};
INSERT INTO chunks SELECT n, 1 + n % {rows}, substr(prose, 1 + n % 1500, 480), numbers[1 + n % 47 : 40 + n % 47]
    FROM generate_series(1, {rows}) AS n JOIN pool ON pool.id = n::bigint * 6007 % {pool};
INSERT INTO events SELECT n, 1 + n % {rows}, (ARRAY['opened', 'edited', 'shared', 'signed'])[1 + n % 4],
    jsonb_build_object('ip', '10.' || n % 7 || '.' || n % 251 || '.' || n % 249, 'ms', (random() * 9999)::int,
        'session', md5((n / 20)::text), 'path', '/api/v2/documents/' || n % {rows} || '/pages',
        'agent', 'Mozilla/5.0 (X11; Linux x86_64; rv:' || 100 + n % 40 || '.0) Gecko/20100101'),
    timestamptz '2026-01-01 00:00+00' + n * interval '7 seconds'
    FROM generate_series(1, {rows} * 2) AS n;
DROP TABLE pool;
CREATE INDEX documents_owner ON documents (owner, created_at);
CREATE INDEX chunks_document ON chunks (document_id);
CREATE INDEX events_document ON events (document_id, at);
"""

_POOL = 16_000
"""Paragraphs of 2000 characters and as many vectors that the rows are cut from: far more than a compressor's window, so
that a row hardly ever repeats what it can still see."""


def _paragraphs() -> Iterator[tuple[int, str, list[float]]]:
    """Prose by Zipf's law over a vocabulary, and floats as embeddings have them."""
    dice = random.Random(42)
    vocabulary = ["".join(dice.choices("etaoinshrdlucmfwypvbgkjqxz", k=2 + n % 9)) for n in range(3000)]
    weights = list(accumulate(1 / (rank + 10) for rank in range(len(vocabulary))))
    for number in range(_POOL):
        prose = " ".join(dice.choices(vocabulary, cum_weights=weights, k=400))
        yield number, prose[:2000].ljust(2000, "."), [dice.uniform(-1, 1) for _index in range(96)]


class Stand:
    """What the contests share; each server and dataset comes to be when it is first asked for.

    Args:
        scale: of all volumes; 1 is what the published table is made with.
        peers: a directory with programs of peers, looked through before PATH.
    """

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self._exits = contextlib.ExitStack()
        self.directory = Path(tempfile.mkdtemp(prefix="hf-bench-"))
        self._exits.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self._numbers = iter(range(1, 1_000_000))

    def __enter__(self) -> Stand:
        return self

    def __exit__(self, *exception: object) -> None:
        self._exits.close()

    # -- servers ------------------------------------------------------------------------------------------------

    @cached_property
    def postgres(self) -> EmbeddedPostgres:
        return self._exits.enter_context(EmbeddedPostgres(16, _SETTINGS))

    @cached_property
    def seaweed(self) -> SeaweedFS:
        return self._exits.enter_context(SeaweedFS(volume_size_mb=30_000))

    @property
    def servers(self) -> list[int]:
        """Process ids of the servers that run, for their CPU seconds."""
        running = [self.__dict__[name]._server for name in ("postgres", "seaweed") if name in self.__dict__]
        return [one.process.pid for one in running if one is not None]

    # -- datasets -----------------------------------------------------------------------------------------------

    @cached_property
    def pgbench(self) -> str:
        """P: the database's name."""
        scale = max(1, round(PGBENCH_SCALE * self.scale))
        say(f"loading pgbench, scale {scale}")
        self.postgres.create_database("pgbench")
        self.postgres.run("pgbench", "-i", "-q", "-s", str(scale), "pgbench")
        return self._settled("pgbench")

    @cached_property
    def realistic(self) -> str:
        """Q: the database's name."""
        rows = max(1000, round(REALISTIC_ROWS * self.scale))
        say(f"loading realistic rows: {rows} documents")
        self.postgres.create_database("realistic")
        with self.postgres.connect("realistic") as connection:
            connection.execute("CREATE UNLOGGED TABLE pool (id int PRIMARY KEY, prose text, numbers float4[])")
            with connection.cursor().copy("COPY pool FROM STDIN") as copy:
                for paragraph in _paragraphs():
                    copy.write_row(paragraph)
        script = _REALISTIC.replace("{rows}", str(rows)).replace("{pool}", str(_POOL))
        self.postgres.psql(script, "realistic")
        return self._settled("realistic")

    def _settled(self, database: str) -> str:
        """Nothing left to vacuum, analyse or write when the first contestant starts."""
        self.postgres.psql("VACUUM (FREEZE, ANALYZE)", database)
        self.postgres.psql("CHECKPOINT", database)
        size = self.postgres.value("SELECT pg_database_size(current_database())", database)
        say(f"   {database}: {size / 1e6:.0f} MB on disk")
        return database

    # -- places -------------------------------------------------------------------------------------------------

    def new_directory(self, name: str) -> Path:
        """A fresh one, of a name never used before."""
        path = self.directory / f"{name}-{next(self._numbers)}"
        path.mkdir()
        return path

    def new_bucket(self) -> str:
        """A fresh bucket whose first volume exists, so that the first contestant does not pay for it."""
        bucket = self.seaweed.create_bucket(f"b-{next(self._numbers)}")
        client = self.seaweed.client()
        client.put_object(Bucket=bucket, Key="warm", Body=b"x")
        client.delete_object(Bucket=bucket, Key="warm")
        return bucket

    def s3(self, bucket: str, name: str = "s3") -> dict[str, Any]:
        """The declaration of a bucket as a repository."""
        return {
            "name": name,
            "type": "s3",
            "endpoint_url": self.seaweed.endpoint,
            "region": self.seaweed.region,
            "bucket": bucket,
            "access_key": self.seaweed.admin.access_key,
            "secret_key": self.seaweed.admin.secret_key,
        }

    def local(self, name: str = "local") -> dict[str, Any]:
        """The declaration of a fresh directory as a repository."""
        return {"name": name, "type": "local", "path": str(self.new_directory(name))}

    @property
    def s3_env(self) -> dict[str, str]:
        """The environment in which aws, rclone (remote `store:`) and restic reach SeaweedFS."""
        key, secret = self.seaweed.admin.access_key, self.seaweed.admin.secret_key
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": self.seaweed.region,
            "AWS_ENDPOINT_URL": self.seaweed.endpoint,
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
            "AWS_CONFIG_FILE": os.devnull,
            "RCLONE_CONFIG": os.devnull,
            "RCLONE_CONFIG_STORE_TYPE": "s3",
            "RCLONE_CONFIG_STORE_PROVIDER": "SeaweedFS",
            "RCLONE_CONFIG_STORE_ENDPOINT": self.seaweed.endpoint,
            "RCLONE_CONFIG_STORE_ACCESS_KEY_ID": key,
            "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY": secret,
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(self.directory / "restic-cache"),
        }
