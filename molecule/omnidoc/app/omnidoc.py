# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small stand-in for OmniDoc: a backend that takes requests for documents, and a worker that writes them.

What it keeps is what has to survive: rows in PostgreSQL, counters in Redis, generated files on disk.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import psycopg
import redis
from celery import Celery
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

VERSION, STATUS = "1", "ok"
DATABASE = os.environ["OMNIDOC_DATABASE"]
BROKER = os.environ["OMNIDOC_REDIS"]
DOCUMENTS = Path(os.environ["OMNIDOC_DOCUMENTS"])

worker = Celery("omnidoc", broker=BROKER)
worker.conf.update(task_ignore_result=True, worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)
app = FastAPI(title="OmniDoc")


class Order(BaseModel):
    """What a document is to be made of."""

    title: str
    text: str


@worker.task(name="omnidoc.generate")
def generate(number: int) -> None:
    """Write a document and note its hash."""
    with psycopg.connect(DATABASE) as database:
        row = database.execute("SELECT title, text FROM documents WHERE id = %s", (number,)).fetchone()
        if row is None:
            return
        content = f"{row[0]}\n\n{row[1]}\n".encode()
        (DOCUMENTS / f"{number}.txt").write_bytes(content)
        database.execute(
            "UPDATE documents SET sha256 = %s, generated = now() WHERE id = %s",
            (hashlib.sha256(content).hexdigest(), number),
        )
    redis.Redis.from_url(BROKER).incr("omnidoc:generated")


@app.get("/health")
def health() -> dict[str, Any]:
    """Whether the backend and what it depends on answer."""
    with psycopg.connect(DATABASE, connect_timeout=2) as database:
        database.execute("SELECT 1")
    redis.Redis.from_url(BROKER, socket_timeout=2).ping()
    return {"status": STATUS, "version": VERSION, "checks": {"database": "ok", "redis": "ok"}}


@app.post("/documents", status_code=202)
def order(what: Order) -> dict[str, int]:
    """Take an order; the worker does the rest."""
    with psycopg.connect(DATABASE) as database:
        row = database.execute(
            "INSERT INTO documents (title, text) VALUES (%s, %s) RETURNING id", (what.title, what.text)
        ).fetchone()
    assert row is not None
    generate.delay(row[0])
    return {"id": row[0]}


@app.get("/documents/{number}")
def show(number: int) -> dict[str, Any]:
    """What is known of a document."""
    with psycopg.connect(DATABASE) as database:
        row = database.execute("SELECT title, sha256 FROM documents WHERE id = %s", (number,)).fetchone()
    if row is None:
        raise HTTPException(404, "no such document")
    return {"id": number, "title": row[0], "sha256": row[1]}
