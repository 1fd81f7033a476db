# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs that a host runs by itself: what they are about, what they are called, and what is told of them.

PRIVATE to the collection; may change without notice. `_host._jobs` knows how they are run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._model import Event

COMPONENT, PART = "component", "part"
"""What a job is about: a declared component, or a part of maintenance."""


@dataclass(frozen=True)
class JobKind:
    """What all jobs of a verb have in common.

    Attributes:
        about: one of the words above. Also the field of the log, and what the playbooks' variable is called after.
        noun: with the subject in the place of the braces.
        severity: of a job that failed.
        source: as in `Event`.
        by_hand: the command that does the same, with the subject in the place of the braces.
    """

    verb: str
    about: str
    noun: str
    severity: str
    source: str
    by_hand: str

    def unit(self, subject: str) -> str:
        """The name of its unit, without an ending."""
        return f"holdfast-{self.verb}-{subject}"

    def event(self, subject: str, status: str, what: str, host: str, **more: Any) -> Event:
        """What became of a job. A failure and the success that resolves it have the same key.

        Args:
            what: the rest of a sentence that begins with the job.
        """
        return Event(
            f"{self.verb}:{subject}",
            self.severity,
            status,
            f"{self.noun.format(subject)} {what}",
            component=subject if self.about == COMPONENT else "",
            host=host,
            source=self.source,
            **more,
        )


JOB_KINDS: Mapping[str, JobKind] = {
    kind.verb: kind
    for kind in (
        JobKind("backup", COMPONENT, "backup of {}", "critical", "job", "holdfast backup {}"),
        JobKind("verify", COMPONENT, "verification of {}", "critical", "job", "holdfast verify {}"),
        JobKind("drill", COMPONENT, "drill of {}", "warning", "drill", "holdfast drill {}"),
        JobKind("maintenance", PART, "{} maintenance", "warning", "job", "holdfast maintenance --part {}"),
    )
}

_UNIT = re.compile(rf"holdfast-(?P<verb>{'|'.join(JOB_KINDS)})-(?P<subject>.+)\.service")


def job_of(unit: str) -> tuple[JobKind, str] | None:
    """The kind and the subject of a job's unit, `holdfast-<verb>-<subject>.service`; None for other units."""
    match = _UNIT.fullmatch(unit)
    return (JOB_KINDS[match["verb"]], match["subject"]) if match else None
