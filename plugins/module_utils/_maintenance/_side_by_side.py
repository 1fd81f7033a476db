# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at several things at once, within one deadline.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Callable, TypeVar

from .._deadline import Deadline
from .._errors import HoldfastError

T = TypeVar("T")

_GRACE = 0.5
"""Seconds beyond the deadline for those that keep to it themselves, and have more to say than that they are late."""


def side_by_side(
    jobs: Mapping[str, Callable[[], T]], deadline: Deadline, at_once: int = 16
) -> dict[str, T | HoldfastError]:
    """What each job returned, or why it could not; one that is late is left behind, and its error says so.

    An exception that is no HoldfastError is a defect, and raised here.
    """
    found: dict[str, T | HoldfastError] = {}
    defects: list[BaseException] = []
    gate = threading.BoundedSemaphore(at_once)

    def do(name: str, job: Callable[[], T]) -> None:
        with gate:
            try:
                found[name] = job()
            except HoldfastError as error:
                found[name] = error
            except BaseException as defect:
                defects.append(defect)

    threads = {name: threading.Thread(target=do, args=(name, job), daemon=True) for name, job in jobs.items()}
    for thread in threads.values():
        thread.start()
    for thread in threads.values():
        thread.join(max(0.0, deadline.left()) + _GRACE)
    for defect in defects:
        raise defect
    return {name: found.get(name, deadline.missed(name)) for name in jobs}
