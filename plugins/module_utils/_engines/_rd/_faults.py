# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Redis and Valkey say when they refuse, as what it means.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import re

from ..._errors import (
    AuthenticationFailed,
    DiskFull,
    HoldfastError,
    PermissionDenied,
    ToolFailed,
    Unavailable,
    Unsupported,
)

RIGHTS = "+info +sync +psync +replconf +client|id +acl|dryrun +acl|whoami"
"""What an ACL user needs for a backup; the last ones only make the preflight surer."""

_CODE = re.compile(r"[A-Z][A-Z0-9_]*(?= |$)")

_MEANINGS: tuple[tuple[str, type[HoldfastError], str, str], ...] = (
    ("WRONGPASS|ERR invalid password|invalid username-password pair", AuthenticationFailed, "refuses the password", ""),
    ("NOAUTH", AuthenticationFailed, "wants a password", "Set login_password (and login_user)."),
    (
        "ERR AUTH .*without any password configured|no password is set",
        AuthenticationFailed,
        "has no password for its default user",
        "Leave login_password out, or set login_user.",
    ),
    ("DENIED", PermissionDenied, "is in protected mode and lets only its own host in", "Set a password or bind."),
    ("LOADING", Unavailable, "is still loading its data", "Try again when it has."),
    ("MASTERDOWN|NOMASTERLINK", Unavailable, "is a replica that has lost its primary", "Back up the primary."),
    ("BUSY", Unavailable, "is busy with a script", "Try again when it has ended."),
    ("ERR max number of clients", Unavailable, "takes no more clients", "Try again, or raise maxclients."),
    (
        "MISCONF",
        Unavailable,
        "cannot save its data and takes no changes",
        "Look at its log; often its disk is full.",
    ),
    ("ERR unknown command|ERR unknown subcommand", Unsupported, "does not know a command that is needed", ""),
)


def is_error(text: str) -> bool:
    """Whether the line is an error's: a code in capitals, as the protocol wants it, and a sentence."""
    return bool(_CODE.match(text)) and text not in ("OK", "PONG", "QUEUED")


def refusal(text: str, where: str, *, stage: str | None = None) -> HoldfastError:
    """An error reply as a typed error."""
    if text.startswith("NOPERM"):
        return PermissionDenied(
            f"The user may not do at {where} what is needed.",
            right="execute",
            stage=stage,
            tool_output=text,
            hint=f"A backup needs these rights: {RIGHTS}. A restore also needs +config +client +bgsave.",
        )
    for pattern, kind, words, hint in _MEANINGS:
        if re.search(pattern, text):
            return kind(f"The server at {where} {words}.", stage=stage, tool_output=text, hint=hint or None)
    if re.search(r"No space left|disk full", text, re.IGNORECASE):
        return DiskFull(f"The disk of the server at {where} is full.", stage=stage, tool_output=text)
    return ToolFailed(f"The server at {where} refused.", stage=stage, tool_output=text)
