# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of reports in their directory: written at once, the newest under a name of its own, old ones removed.

PRIVATE to the collection; may change without notice. The names are public: docs/maintenance/reports.md.

    20261122T063000.123Z-daily.html    a run of a part, or `-named` of tasks that somebody named
    latest.html                        a link to the newest
    figures.jsonl                      figures of all runs (_figures)
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Final

from ..._manifest import utc_now
from ..._replace import replace_file, replace_link
from .._run_model import Run
from . import _figures
from ._figures import History
from ._html import template, to_html
from ._markdown import to_markdown
from ._tidy import tidy

JSON, MARKDOWN, HTML = "json", "markdown", "html"

_NAMED = "named"
_MODE = 0o640
_ENDINGS: Final[Mapping[str, str]] = {JSON: "json", MARKDOWN: "md", HTML: "html"}
_REPORT = r"(?P<stamp>\d{8}T\d{6}\.\d{3})Z-(?:daily|weekly|monthly|named)\.(?P<ending>json|md|html)"
_UNFINISHED = re.compile(rf"\.(?:{_REPORT}|latest\.(?:json|md|html)|{re.escape(_figures.NAME)})\.[0-9a-f]{{16}}\Z")
_FINISHED = re.compile(rf"{_REPORT}\Z")
_ABANDONED = timedelta(hours=1)
"""After this nobody finishes a file any more that was begun."""


def to_json(run: Run, history: History) -> str:
    """The report for programs: docs/maintenance/report.schema.json."""
    return (
        json.dumps({**run.as_dict(), "notes": list(history.notes)}, ensure_ascii=False, allow_nan=False, indent=2)
        + "\n"
    )


_WRITERS: Final[Mapping[str, Callable[[Run, History], str]]] = {
    JSON: to_json,
    MARKDOWN: to_markdown,
    HTML: to_html,
}
FORMATS = tuple(_WRITERS)


def require(formats: Sequence[str] = FORMATS) -> None:
    """Make sure that these formats can be written here; to be asked before anything is done that a report would tell.

    Raises:
        MissingDependency: HTML is wanted, and Jinja2 is not installed.
        ValueError: there is no such format.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: there are {', '.join(FORMATS)}")
    if HTML in formats:
        template()


def write_reports(run: Run, directory: str, formats: Sequence[str] = FORMATS) -> dict[str, str]:
    """Remember the figures of a run and write its reports, which root and the group of the directory's files may read.

    Returns:
        The path of each format's file.

    Raises:
        MissingDependency, ValueError: as `require`; nothing was written.
        TypeError: a value is of a kind that no report can show; nothing was written.
        OSError: a file cannot be written. Those written before are whole.
    """
    require(formats)
    clean = tidy(run)
    os.makedirs(directory, mode=0o750, exist_ok=True)
    history = _figures.remember(directory, clean)
    contents = {each: _WRITERS[each](clean, history) for each in formats}
    paths = {}
    for each, content in contents.items():
        name = f"{_stamp(clean.started)}Z-{clean.part or _NAMED}.{_ENDINGS[each]}"
        paths[each] = os.path.join(directory, name)
        replace_file(paths[each], content, _MODE)
        replace_link(os.path.join(directory, f"latest.{_ENDINGS[each]}"), name)
    return paths


def sweep(directory: str, keep: timedelta, *, check: bool = False, now: datetime | None = None) -> list[str]:
    """Remove reports that are older than `keep`, and what a killed run left unfinished; nothing else.

    The newest report of each format stays, however old, and so do the figures.

    Args:
        check: only tell.

    Returns:
        The names of what was, or would be, removed.

    Raises:
        OSError: the directory cannot be read, or a file of it not be removed.
    """
    moment = now or utc_now()
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        outdated = _outdated(descriptor, moment, keep)
        for name in outdated if not check else ():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    return outdated


def _outdated(directory: int, moment: datetime, keep: timedelta) -> list[str]:
    """What `sweep` would remove."""
    reports: dict[str, list[tuple[str, str]]] = {}
    outdated = []
    for name in sorted(os.listdir(directory)):
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        finished = _FINISHED.match(name)
        if finished and stat.S_ISREG(status.st_mode):
            reports.setdefault(finished["ending"], []).append((finished["stamp"], name))
        elif _UNFINISHED.match(name) and moment.timestamp() - status.st_mtime > _ABANDONED.total_seconds():
            outdated.append(name)
    for ending, found in reports.items():
        newest = {max(found)[1], _target(directory, f"latest.{ending}")}
        outdated += [name for stamp, name in found if name not in newest and moment - _moment(stamp) > keep]
    return sorted(outdated)


def _target(directory: int, link: str) -> str:
    try:
        return os.readlink(link, dir_fd=directory)
    except OSError:  # there is none, or it is no link
        return ""


def _stamp(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%S.%f")[:-3]


def _moment(stamp: str) -> datetime:
    """When a report's run began; a stamp that is no time is of no age."""
    try:
        return datetime.strptime(stamp, "%Y%m%dT%H%M%S.%f").replace(tzinfo=timezone.utc)
    except ValueError:
        return datetime.max.replace(tzinfo=timezone.utc)
