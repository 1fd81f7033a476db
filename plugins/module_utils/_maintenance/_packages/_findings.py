# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person should know of the packages of a host. Pure.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta

from ..._durations import counted, roughly
from ..._errors import HoldfastError
from .._section import CRITICAL, INFO, WARNING, Finding
from ._apt import Apt
from ._languages import Outdated
from ._release import SOURCE, support_of

_SOON = timedelta(days=180)
"""A new release of the distribution is no work of a day."""
_NAMED = 5


def of_apt(apt: Apt, max_age: float) -> Iterator[Finding]:
    """Upgrades, what is held back, and whether the lists can be believed. `max_age`: of the lists, in seconds."""
    security = [each for each in apt.upgrades if each.security]
    waiting = [each for each in security if not each.held]
    if waiting:
        text = f"{counted(len(waiting), 'security update')} can be installed: {_some(each.name for each in waiting)}."
        yield Finding("security_updates", WARNING, text, "apt", "apt upgrade")
    others = [each for each in apt.upgrades if not each.security and not each.held]
    if others:
        text = f"{counted(len(others), 'other package')} can be upgraded."
        yield Finding("updates", INFO, text, "apt", "apt upgrade")
    missing = [each for each in security if each.held]
    if missing:
        text = f"Security updates are kept away by a hold: {_some(each.name for each in missing)}."
        yield Finding("held_security_updates", WARNING, text, "apt", "`apt-mark unhold` them when the reason is gone.")
    if apt.held:
        text = f"{counted(len(apt.held), 'package')} must stay as it is (hold): {_some(sorted(apt.held))}."
        if len(apt.held) > 1:
            text = f"{len(apt.held)} packages must stay as they are (hold): {_some(sorted(apt.held))}."
        yield Finding("held", INFO, text, "apt", "apt-mark showhold")
    yield from _of_lists(apt, max_age)


def _of_lists(apt: Apt, max_age: float) -> Iterator[Finding]:
    if apt.refreshed is None or apt.asked is None:
        text = "This host has no package lists, so nobody knows what could be upgraded."
        yield Finding("no_lists", WARNING, text, "apt", "apt-get update")
    elif apt.asked > max_age:
        text = f"The package lists are {roughly(apt.refreshed)} old: newer updates are not seen."
        yield Finding(
            "stale_lists",
            WARNING,
            text,
            "apt",
            "`apt-get update`, and `systemctl status apt-daily.timer`.",
        )
    elif apt.refreshed > max_age:
        text = f"The package lists are {roughly(apt.refreshed)} old, though new ones were asked for since: "
        text += "nothing was new, or the sources cannot be reached."
        yield Finding("unchanged_lists", INFO, text, "apt", "apt-get update")


def of_restarts(required: Sequence[str] | None, kernel: str, stale: Mapping[str, Iterable[str]]) -> Iterator[Finding]:
    """What was upgraded and does not run yet.

    Args:
        required: the packages for which a restart of the host is asked for; None when it is not.
        kernel: why another kernel would start; empty when none would.
        stale: units that use replaced files.
    """
    if required is not None:
        because = f", because of {_some(required)}" if required else ""
        text = f"The host must be restarted for upgrades to take effect{because}."
        yield Finding("reboot_required", WARNING, text, "host", "`systemctl reboot`, when that suits.")
    elif kernel:
        text = f"The host runs an older kernel than it has: {kernel}."
        yield Finding("reboot_required", WARNING, text, "host", "`systemctl reboot`, when that suits.")
    if stale:
        what = counted(len(stale), "service still uses", "services still use")
        text = f"{what} files that an upgrade has replaced: {_some(sorted(stale))}."
        units = " ".join(map(shlex.quote, sorted(each for each in stale if each.endswith(".service"))[:_NAMED]))
        yield Finding("restart_services", WARNING, text, "services", f"systemctl restart {units}" if units else "")


def of_release(release: Mapping[str, str], today: date) -> Iterator[Finding]:
    """Until when the distribution is looked after, as the table knows it."""
    name = release.get("PRETTY_NAME") or release.get("ID") or "This distribution"
    support = support_of(dict(release))
    if support is None:
        text = f"Until when {name} gets security updates is not in the table of this collection ({SOURCE})."
        yield Finding("end_of_life_unknown", INFO, text, "host", "Ask its makers.")
        return
    source = f"by the dates of {SOURCE}"
    if today > support.long_term:
        text = f"{name} has had no security updates since {support.long_term}, {source}."
        yield Finding("end_of_life", CRITICAL, text, "host", "Upgrade to a newer release, or buy longer support.")
    elif today > support.long_term - _SOON:
        text = f"{name} gets no security updates after {support.long_term}, {source}."
        yield Finding("end_of_life", WARNING, text, "host", "Plan the upgrade to a newer release.")
    elif today > support.regular:
        text = f"{name} is past its regular support ({support.regular}); "
        text += f"long-term updates go on until {support.long_term}, {source}."
        yield Finding("long_term_support", INFO, text, "host", "Plan the upgrade to a newer release.")


def of_projects(projects: Mapping[tuple[str, str], Sequence[Outdated] | HoldfastError]) -> Iterator[Finding]:
    """Environments and projects, by tool and directory."""
    for (tool, path), found in projects.items():
        if isinstance(found, HoldfastError):
            code = "index_unreachable" if found.code in ("unavailable", "timeout") else "not_looked_at"
            text = f"{tool}: {found.message}" + (f" {found.tool_output.splitlines()[0]}" if found.tool_output else "")
            yield Finding(code, WARNING, text, path, found.hint or "")
        elif found:
            major = [each.name for each in found if _major(each.installed) != _major(each.latest)]
            names = _some(each.name for each in found)
            text = f"{counted(len(found), 'package')} of {path} can be upgraded ({tool}): {names}."
            if major:
                text += f" {len(major)} of them by a major version."
            yield Finding("outdated", INFO, text, path, "")


def _major(version: str) -> str:
    return version.partition(".")[0]


def _some(names: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more
