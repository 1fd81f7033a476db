# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading stored objects to prove their checksums: in parallel, and in bounded memory.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from .._errors import Corrupted, NotFound
from .._manifest import StoredPart
from .._repositories._interface import Repository
from .._stream._read import AHEAD, RANGE, fetch

SMALL = AHEAD
"""Objects of at most one range that are read at once, so that the memory is that of one large object."""


def check_objects(
    repository: Repository, objects: Iterable[StoredPart], count: Callable[[int], None] = lambda size: None
) -> list[str]:
    """Hash every byte of every object.

    Returns:
        A sentence for each object that is missing, truncated or damaged.
    """
    problems: list[str] = []
    waiting: deque[Future[str | None]] = deque()
    with ThreadPoolExecutor(SMALL, thread_name_prefix="checksum") as pool:
        try:
            for part in objects:
                if part.size > RANGE:  # many ranges of it are read at once
                    problems += [said for said in (_check(repository, part, count),) if said]
                    continue
                if len(waiting) == 2 * SMALL:
                    problems += [said for said in (waiting.popleft().result(),) if said]
                waiting.append(pool.submit(_check_small, repository, part, count))
            problems += [said for said in (each.result() for each in waiting) if said]
        finally:
            for future in waiting:
                future.cancel()
    return problems


def _check(repository: Repository, part: StoredPart, count: Callable[[int], None]) -> str | None:
    try:
        with contextlib.closing(fetch(repository, [part], count, what=part.key.rpartition("/")[2])) as stored:
            for _data in stored:
                pass
    except Corrupted as error:
        return error.message
    return None


def _check_small(repository: Repository, part: StoredPart, count: Callable[[int], None]) -> str | None:
    """One read, without the machinery of ranges that `fetch` has: there can be a hundred thousand of these."""
    try:
        data = repository.read(part.key, 0, part.size)
    except NotFound:
        return f"{part.key} is missing in the repository {repository.name}."
    count(len(data))
    if len(data) != part.size:
        return f"{part.key} in {repository.name} is truncated: it ends at byte {len(data)} of {part.size}."
    digest = hashlib.sha256(data).hexdigest()
    if digest != part.sha256:
        return f"{part.key} in {repository.name} is damaged: its SHA-256 is {digest}, {part.sha256} was stored."
    return None
