# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of all checks, as metrics.

PRIVATE to the collection; may change without notice. The names are public: docs/metrics.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._metrics import METRICS, Textfile
from ._document import Known
from ._interface import STATUSES


def write(directory: str, known: Sequence[Known]) -> None:
    """Replace the file of all checks: those that are no longer declared are no longer told.

    Raises:
        OSError: it cannot be written.
    """
    file = Textfile(directory, "health", None)
    file.forget(*(metric.name for metric in METRICS["health"]))
    for each in known:
        result = each.result
        labels = {"check": result.name}
        file.set("holdfast_health_status", STATUSES.index(each.status), **labels)
        file.set("holdfast_health_observed_status", STATUSES.index(result.status), **labels)
        file.set("holdfast_health_duration_seconds", result.seconds, **labels)
        file.set("holdfast_health_last_run_timestamp_seconds", result.started + result.seconds, **labels)
        file.set("holdfast_health_valid_until_timestamp_seconds", each.valid_until, **labels)
        for one in result.measurements:
            if isinstance(one.value, (int, float)):
                more = {"measurement": one.name, "target": one.target, "unit": one.unit}
                file.set("holdfast_health_measurement", one.value, **labels, **more)
    file.write()
