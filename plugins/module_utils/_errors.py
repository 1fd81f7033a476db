# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Typed errors: what went wrong, in which stage, in whose words, and what to do next.

PRIVATE to the collection; may change without notice.

Every error that a user can meet is a `HoldfastError`. Its class is the taxonomy: `code` is returned to the
user as `error_code`, so playbooks can tell a wrong password from a store that is down.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

TOOL_OUTPUT_LIMIT = 4000
"""Characters of a tool's own words that an error keeps: mostly the end, where tools say why they stopped."""

TOOL_OUTPUT_HEAD = 1000
"""Of these, how many from the beginning: some repeat a long statement after they said why."""


class HoldfastError(Exception):
    """An operation could not do what was asked.

    Args:
        message: one clear sentence.
        stage: where it happened, e.g. `preflight`, `dump`, `upload`, `commit`, `restore`.
        tool_output: the tool's or service's own words; redact before passing (`redact`).
        hint: what to do next.
        left_behind: what was left in place (`None` means nothing).
    """

    code = "error"

    def __init__(
        self,
        message: str,
        *,
        stage: str | None = None,
        tool_output: str | None = None,
        hint: str | None = None,
        left_behind: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.stage = stage
        self.tool_output = shorten((tool_output or "").strip()) or None
        self.hint = hint
        self.left_behind = left_behind

    def __str__(self) -> str:
        text = self.message
        if self.tool_output:
            text += f" The tool said: {self.tool_output}"
            if self.hint and not text.endswith((".", "!", "?")):
                text += "."
        if self.hint:
            text += f" {self.hint}"
        return text

    def at(self, stage: str) -> HoldfastError:
        """Name the stage unless a deeper layer already did."""
        if self.stage is None:
            self.stage = stage
        return self

    def result(self) -> dict[str, Any]:
        """The fields that a failed module returns beside `msg`."""
        return {
            "error_code": self.code,
            "stage": self.stage,
            "tool_output": self.tool_output,
            "hint": self.hint,
            "left_behind": self.left_behind or "nothing",
        }


class InvalidOption(HoldfastError):
    """What the user declared cannot be right; nothing was touched."""

    code = "invalid_option"


class MissingDependency(HoldfastError):
    """A library or a program that this needs is not installed here."""

    code = "missing_dependency"


class AuthenticationFailed(HoldfastError):
    """The other side does not accept who we say we are."""

    code = "authentication_failed"


class PermissionDenied(HoldfastError):
    """We are known, but not allowed to do this. `right` is one of write, read, list, delete or free text."""

    code = "permission_denied"

    def __init__(self, message: str, *, right: str | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.right = right

    def result(self) -> dict[str, Any]:
        return {**super().result(), "right": self.right}


class NotFound(HoldfastError):
    """A thing that was named does not exist: a database, a bucket, a backup, an object."""

    code = "not_found"


class AlreadyExists(HoldfastError):
    """A thing that must be new exists already."""

    code = "already_exists"


class Unavailable(HoldfastError):
    """The other side cannot be reached or does not answer; trying again later can help."""

    code = "unavailable"


class TimedOut(Unavailable):
    """The other side took longer than the option that bounds it allows."""

    code = "timeout"


class TlsFailed(HoldfastError):
    """The certificate or the protocol was refused."""

    code = "tls_failed"


class Unsupported(HoldfastError):
    """This store, server or version cannot do what was asked."""

    code = "unsupported"


class VersionMismatch(Unsupported):
    """A tool is older than the server, or a server older than the dump."""

    code = "version_mismatch"


class DiskFull(HoldfastError):
    """There is not, or no longer, enough room."""

    code = "disk_full"


class Locked(HoldfastError):
    """Somebody else works on this; the message names the holder."""

    code = "locked"


class Refused(HoldfastError):
    """A guard held: this could destroy something and was not confirmed."""

    code = "refused"


class ToolFailed(HoldfastError):
    """A program or a server reported failure."""

    code = "tool_failed"


class Corrupted(HoldfastError):
    """Stored bytes are not the bytes that were written, or are missing."""

    code = "corrupted"


class SourceChanged(HoldfastError):
    """A file was no longer the same when it was read again."""

    code = "source_changed"


class NotProved(HoldfastError):
    """A restore ran, and what it brought back differs from the fingerprint."""

    code = "not_proved"


class NoIdentity(HoldfastError):
    """The backup is encrypted and no (fitting) identity was given."""

    code = "no_identity"


class Degraded(HoldfastError):
    """The backup is committed in some repositories and missing in others."""

    code = "degraded"


class Interrupted(HoldfastError):
    """A signal asked us to stop."""

    code = "interrupted"


class OutOfTime(Interrupted):
    """The operation took longer than its `max_runtime` allows."""

    code = "timeout"


class InternalError(HoldfastError):
    """A defect of holdfast itself."""

    code = "internal_error"


@contextlib.contextmanager
def failures_ignored() -> Iterator[None]:
    """Go on after a failure that nothing depends on; an interruption still ends the run."""
    try:
        yield
    except Interrupted:
        raise
    except HoldfastError:
        pass


def shorten(text: str, limit: int = TOOL_OUTPUT_LIMIT, head: int = TOOL_OUTPUT_HEAD) -> str:
    """Beginning and end of a text of more than `limit` characters."""
    if len(text) <= limit:
        return text
    return f"{text[:head]} [...] {text[head - limit :]}"


_URL_PASSWORD = re.compile(r"(?P<head>\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@]+@", re.IGNORECASE)
_KEYED_SECRET = re.compile(
    # With what may stand before (access_token, X-Api-Key) and around it (JSON), and with the scheme of Authorization.
    r"(?P<head>\b[\w-]{0,40}(?:password|passwd|passphrase|secret|secret_access_key|token|api[_-]?key|signature|"
    r"authorization)[\"']?\s*[=:]\s*)(?:'[^']*'|\"[^\"]*\"|(?:(?:bearer|basic|digest)\s+)?[^\s&,;]+)",
    re.IGNORECASE,
)


def redact(text: str, secrets: Iterable[str | None] = ()) -> str:
    """Take secrets out of a tool's own words: the given ones and whatever is spelled like one."""
    for secret in sorted({s for s in secrets if s and len(s) >= 3}, key=len, reverse=True):
        text = text.replace(secret, "********")
    text = _URL_PASSWORD.sub(r"\g<head>********@", text)
    return _KEYED_SECRET.sub(r"\g<head>********", text)
