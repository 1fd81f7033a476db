# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `holdfast_logs` may say, and what logrotate is told of it.

PRIVATE to the collection; may change without notice.

logrotate rotates, and where a number of rotated logs is kept it does all there is to do. It cannot keep by time: it
looks at old logs only when the log is rotated again, which a quiet one is not, and it compresses all rotations or all
but the last one. So where `keep` is a length of time, `holdfast clean` removes what is older, and compresses what
`compress_after` says, by the moment of the rotation that stands in the name of the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .._declaration._elements import named_elements
from .._declaration._report import InvalidDeclaration, Report
from .._declaration._spec import check
from .._durations import format_duration, parse_duration, parse_size
from .._errors import InvalidOption
from .._spec import Spec

VARIABLE = "holdfast_logs"
FREQUENCIES = ("hourly", "daily", "weekly", "monthly")
HEADER = "# Managed by holdfast.ops (holdfast_logs). Changes made here are lost."
DATE_FORMAT = "-%Y%m%d-%H%M%S"
"""The moment of the rotation, in local time; several in a day have different names."""
_DEFAULT_KEEP = "30d"

_PATH = re.compile(r"/[A-Za-z0-9._@%+,:=*?\[\]/-]+")
"""Nothing that means something to logrotate's own syntax but its wildcards."""
_ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_MODE = re.compile(r"0?[0-7]{3}")
_LOG_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}")
"""No dots: logrotate ignores files that end as those of editors and packages do."""

LOG = Spec(
    {
        "name": {"type": "str", "required": True},
        "paths": {"type": "list", "elements": "str", "required": True},
        "keep": {"type": "raw", "default": _DEFAULT_KEEP},
        "frequency": {"type": "str", "choices": list(FREQUENCIES), "default": "daily"},
        "compress": {"type": "bool", "default": True},
        "compress_after": {"type": "str"},
        "min_size": {"type": "str"},
        "max_size": {"type": "str"},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "mode": {"type": "str"},
        "su": {"type": "str"},
        "copytruncate": {"type": "bool"},
        "reload": {"type": "list", "elements": "str"},
        "signal": {"type": "str", "choices": ["HUP", "USR1", "USR2"]},
        "replaces": {"type": "list", "elements": "str", "default": []},
    },
    required_by={"group": ("owner",), "signal": ("reload",)},
)
"""An element of the list, and of the option `logs` of the module `logrotate_config`."""

_ELEMENT = Spec(
    {
        **LOG.options,
        "name": {"type": "name", "required": True},
        "compress_after": {"type": "duration"},
        "min_size": {"type": "bytes"},
        "max_size": {"type": "bytes"},
        "reload": {"type": "list", "elements": "unit"},
        "replaces": {"type": "list", "elements": "name", "default": []},
    },
    required_by=LOG.required_by,
)


@dataclass(frozen=True)
class Log:
    """Logs that are rotated alike.

    Attributes:
        paths: of the logs; logrotate's wildcards.
        keep: how many rotated logs of each are kept, or for how long after the rotation.
        compress_after: how long after the rotation one is compressed; None means at the rotation after it.
        su: as whom logrotate works, `user group`; None is root.
        create: mode, owner and group of the new log, as far as they were said; None where it is truncated instead.
        reload: units that open their logs anew, by reload or by `signal`.
        replaces: files of packages in /etc/logrotate.d that rotate the same logs, and are set aside.
    """

    name: str
    paths: tuple[str, ...]
    keep: int | timedelta
    frequency: str = "daily"
    compress: bool = True
    compress_after: timedelta | None = None
    min_size: int | None = None
    max_size: int | None = None
    su: tuple[str, str] | None = None
    create: tuple[str, ...] | None = ()
    reload: tuple[str, ...] = ()
    signal: str | None = None
    replaces: tuple[str, ...] = ()

    @property
    def aged(self) -> bool:
        """Whether `holdfast clean` has something to do for it."""
        return isinstance(self.keep, timedelta)

    @property
    def eager(self) -> bool:
        """Whether looking at it once a day is too seldom."""
        return self.frequency == "hourly" or self.max_size is not None

    def as_config(self) -> dict[str, Any]:
        """As JSON that `parse_logs` takes."""
        config: dict[str, Any] = {
            "name": self.name,
            "paths": list(self.paths),
            "keep": self.keep if isinstance(self.keep, int) else format_duration(self.keep),
            "frequency": self.frequency,
            "compress": self.compress,
        }
        if self.compress_after is not None:
            config["compress_after"] = format_duration(self.compress_after)
        for option in ("min_size", "max_size", "signal"):
            if getattr(self, option) is not None:
                config[option] = getattr(self, option)
        config.update({name: list(getattr(self, name)) for name in ("reload", "replaces") if getattr(self, name)})
        if self.su is not None:
            config["su"] = ":".join(self.su)
        if self.create is None:
            config["copytruncate"] = True
        else:
            owners = self.create[-2:] if len(self.create) >= 2 else ()
            config.update(zip(("owner", "group"), owners))
            if len(self.create) % 2:
                config["mode"] = self.create[0]
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Log:
        """What `as_config` gave; judged again, because a file lay between.

        Raises:
            InvalidDeclaration: somebody has changed it.
        """
        return parse_logs([config])[0]

    def stanza(self) -> str:
        """The file in /etc/logrotate.d."""
        lines = [self.frequency]
        if isinstance(self.keep, int):
            lines.append(f"rotate {self.keep}")
        else:
            # maxage alone would do it for a log that is never quiet; it counts whole days.
            lines += ["rotate -1", f"maxage {max(1, math.ceil(self.keep / timedelta(days=1)))}"]
        lines += ["dateext", f"dateformat {DATE_FORMAT}", "missingok", "notifempty"]
        if self.compress and self.compress_after is None:
            lines += ["compress", "delaycompress"]  # who still writes to the old one must not be cut off
        else:
            lines.append("nocompress")
        lines += [f"minsize {self.min_size}"] if self.min_size is not None else []
        lines += [f"maxsize {self.max_size}"] if self.max_size is not None else []
        lines += [f"su {' '.join(self.su)}"] if self.su is not None else []
        lines.append("copytruncate" if self.create is None else " ".join(("create", *self.create)))
        if self.reload:
            lines += [
                "sharedscripts",
                "postrotate",
                *(f"    {self._reopen(unit)}" for unit in self.reload),
                "endscript",
            ]
        body = "".join(f"    {line}\n" for line in lines)
        return f"{HEADER}\n{chr(10).join(self.paths)}\n{{\n{body}}}\n"

    def _reopen(self, unit: str) -> str:
        """A unit that is stopped has no log open; one that cannot reload is a failure that logrotate reports."""
        how = f"kill --kill-who=main --signal={self.signal}" if self.signal else "reload"
        return f"if systemctl is-active --quiet '{unit}'; then systemctl {how} '{unit}'; fi"


def parse_logs(values: Any) -> tuple[Log, ...]:
    """Check `holdfast_logs`.

    Args:
        values: the variable, templated; None when it is not declared.

    Raises:
        InvalidDeclaration: with every problem, a line each; no value is repeated.
    """
    lines: list[str] = []
    parsed: list[Log] = []
    for value, place in named_elements(values, VARIABLE, "log", lines):
        before = place.count
        given = check(value, _ELEMENT, place)
        if place.count == before:
            log = _log(given, place)
            if place.count == before:
                parsed.append(log)
    if lines:
        raise InvalidDeclaration(lines)
    return tuple(parsed)


def _log(given: Mapping[str, Any], report: Report) -> Log:
    """What was checked one by one; what only fits together badly is reported."""
    if not _LOG_NAME.fullmatch(given["name"]):
        report.key("name").add("must not have a dot in it: logrotate ignores files that end like .bak or .swp")
    keep = _keep(given.get("keep", _DEFAULT_KEEP), report)
    after = parse_duration(given["compress_after"]) if "compress_after" in given else None
    _check_paths(given["paths"], keep, report)
    if after is not None:
        if isinstance(keep, int):
            report.key("compress_after").add("needs a length of time in keep, such as 30d, not a number of logs")
        elif after >= keep:
            report.key("compress_after").add("must be shorter than keep")
        if not given.get("compress", True):
            report.key("compress_after").add("makes no sense without compress")
    owner = given.get("owner")
    accounts = {"owner": owner, "group": given.get("group", owner)}
    user, _colon, group = given.get("su", "").partition(":")
    for option, account in {**accounts, "su": user, **({"su (group)": group} if _colon else {})}.items():
        if account and not _ACCOUNT.fullmatch(account):
            report.key(option).add("is not the name of a user or group")
    for option in ("mode", "owner", "reload") if given.get("copytruncate") else ():
        if option in given:
            report.add(f"copytruncate and {option} exclude each other")
    mode = given.get("mode")
    if mode is not None and not _MODE.fullmatch(mode):
        report.key("mode").add('must be three octal digits, such as "0640"')
    created = (*([mode] if mode else []), *([accounts["owner"], accounts["group"]] if owner else []))
    return Log(
        name=str(given["name"]),
        paths=tuple(given["paths"]),
        keep=keep,
        frequency=given.get("frequency", "daily"),
        compress=given.get("compress", True),
        compress_after=after,
        min_size=_size(given, "min_size"),
        max_size=_size(given, "max_size"),
        su=(user, group or user) if user else None,
        create=None if given.get("copytruncate") else tuple(str(each) for each in created),
        reload=tuple(given.get("reload", ())),
        signal=given.get("signal"),
        replaces=tuple(given.get("replaces", ())),
    )


def _check_paths(paths: list[str], keep: int | timedelta, report: Report) -> None:
    for number, path in enumerate(paths):
        place = report.key("paths").index(number)
        if not _PATH.fullmatch(path) or ".." in path.split("/") or path.endswith("/"):
            place.add("must be the absolute path of a file, of letters, digits, . _ @ % + , : = - and wildcards * ? []")
        elif path.endswith("*"):
            place.add("would also match what was rotated; write for example *.log")
        elif not isinstance(keep, int) and re.search(r"[*?\[]", path.rpartition("/")[0]):
            place.add("has a wildcard in a directory; that needs a number of logs in keep, not a length of time")


def _keep(value: Any, report: Report) -> int | timedelta:
    """A number of logs or a length of time."""
    text = str(value).strip()
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        report.key("keep").add("must be a number of logs or a length of time, such as 30d")
    elif re.fullmatch("[0-9]{1,6}", text):
        if int(text):
            return int(text)
        report.key("keep").add("must be at least 1")
    else:
        try:
            keep = parse_duration(text)
        except InvalidOption as error:
            report.key("keep").add(f"{error.message}, or a number of logs")
        else:
            if keep:
                return keep
            report.key("keep").add("must be longer than nothing")
    return 1


def _size(given: Mapping[str, Any], option: str) -> int | None:
    return parse_size(str(given[option])) if option in given else None
