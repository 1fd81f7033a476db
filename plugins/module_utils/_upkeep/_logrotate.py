# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our files in /etc/logrotate.d: planned, tried out by logrotate itself, and only then put in place.

PRIVATE to the collection; may change without notice.

A wrong file does not only fail by itself: logrotate skips the file in which it notices that two name the same log, and
that may be a package's. So the whole configuration is tried as it would be, and compared with how it is.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .._errors import InvalidOption, MissingDependency, NotFound, Refused, ToolFailed
from .._process import clean_environment
from .._replace import replace_file
from ._logs import HEADER, Log

DIRECTORY = "/etc/logrotate.d"
MAIN = "/etc/logrotate.conf"
PREFIX = "holdfast-"
SET_ASIDE = ".holdfast-replaced.disabled"
"""What the name of a package's file ends with while one of ours stands in its place; logrotate ignores it."""
_UNFINISHED = ".swp"
"""The same for a file that is being written."""
_TIMEOUT = 120


@dataclass(frozen=True)
class Changes:
    """What has to be done in the directory.

    Attributes:
        write: name → content of files that are missing or different.
        remove: names of our files that nothing declares any more.
        set_aside: names of other files that ours replace.
        bring_back: names of files that were set aside and are replaced no more.
    """

    write: Mapping[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    set_aside: tuple[str, ...] = ()
    bring_back: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.write or self.remove or self.set_aside or self.bring_back)


class Directory:
    """The directory with logrotate's configuration.

    Args:
        path: the directory, which `main` includes.
        main: logrotate's main configuration.
        program: logrotate; None looks for it.
    """

    def __init__(self, path: str = DIRECTORY, main: str = MAIN, program: str | None = None) -> None:
        self.path = path.rstrip("/")
        self.main = main
        self._program = program

    @property
    def program(self) -> str | None:
        """logrotate, or None where it is not installed."""
        return self._program or shutil.which("logrotate", path="/usr/sbin:/usr/bin:/sbin:/bin:" + os.defpath)

    def read(self, name: str) -> str | None:
        """A file's content; None when there is none."""
        try:
            with open(os.path.join(self.path, name), encoding="utf-8", errors="surrogateescape") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def plan(self, logs: Sequence[Log]) -> Changes:
        """What must change so that exactly these logs are rotated by us.

        Raises:
            Refused: a file that is not ours has the name of one of ours.
        """
        wanted = {f"{PREFIX}{log.name}": log.stanza() for log in logs}
        replaced = {name for log in logs for name in log.replaces}
        present = set(os.listdir(self.path)) if os.path.isdir(self.path) else set()
        remove, write = [], {}
        for name in sorted(present | set(wanted)):
            if not name.startswith(PREFIX) or name.endswith((SET_ASIDE, _UNFINISHED)):
                continue
            content = self.read(name)
            if content is not None and not content.startswith(HEADER):
                if name in wanted:
                    raise Refused(
                        f"{os.path.join(self.path, name)} was not written by holdfast.ops.",
                        stage="preflight",
                        hint="Move it away, or give the log another name.",
                    )
            elif name not in wanted:
                remove.append(name)
            elif content != wanted[name]:
                write[name] = wanted[name]
        aside = {name[: -len(SET_ASIDE)] for name in present if name.endswith(SET_ASIDE)}
        return Changes(
            write,
            tuple(remove),
            tuple(sorted(replaced & present - set(wanted))),
            tuple(sorted(aside - replaced - present)),
        )

    def try_out(self, changes: Changes) -> None:
        """Let logrotate judge the configuration as it would be; nothing of the real one is touched.

        Raises:
            MissingDependency: there is no logrotate.
            NotFound: there is no main configuration.
            InvalidOption: it does not include the directory.
            ToolFailed: logrotate finds errors that it does not find now.
        """
        if self.program is None:
            raise MissingDependency("logrotate is not installed.", stage="preflight", hint="Install it.")
        if not os.path.exists(self.main):
            raise NotFound(f"{self.main} does not exist.", stage="preflight", hint="Install logrotate again.")
        before = self._errors(Changes())
        new = self._errors(changes) - before
        if new:
            said = "\n".join(sorted(new.elements()))
            raise ToolFailed(
                "logrotate refuses what is declared; nothing was changed.",
                stage="validate",
                tool_output=said,
                hint=_hint(said),
            )

    def apply(self, changes: Changes) -> None:
        """Do it: every file appears complete or not at all."""
        for name in changes.set_aside:
            os.replace(os.path.join(self.path, name), os.path.join(self.path, name + SET_ASIDE))
        for name, content in changes.write.items():
            replace_file(os.path.join(self.path, name), content, 0o644, suffix=_UNFINISHED)
        for name in changes.remove:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.path, name))
        for name in changes.bring_back:
            os.rename(os.path.join(self.path, name + SET_ASIDE), os.path.join(self.path, name))

    def _errors(self, changes: Changes) -> Counter[str]:
        """What logrotate complains of, without the line numbers: those of other files may have moved."""
        with tempfile.TemporaryDirectory(prefix="holdfast-logrotate-") as scratch:
            staged = os.path.join(scratch, "logrotate.d")
            os.mkdir(staged, 0o755)
            gone = {*changes.remove, *changes.set_aside}
            for name in sorted(os.listdir(self.path) if os.path.isdir(self.path) else ()):
                source = os.path.join(self.path, name)
                if name not in gone and os.path.isfile(source):
                    shutil.copyfile(source, os.path.join(staged, name))
            for name in changes.bring_back:
                os.rename(os.path.join(staged, name + SET_ASIDE), os.path.join(staged, name))
            for name, content in changes.write.items():
                with open(os.path.join(staged, name), "w", encoding="utf-8") as file:
                    file.write(content)
            main = os.path.join(scratch, "logrotate.conf")
            with open(main, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(self._main_with(staged))
            for path in (main, *(os.path.join(staged, name) for name in os.listdir(staged))):
                os.chmod(path, 0o644)  # logrotate ignores what others could have written
            return self._ask(main, scratch)

    def _main_with(self, staged: str) -> str:
        """The main configuration with another directory in the place of ours."""
        with open(self.main, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines(keepends=True)
        include = re.compile(rf"\s*include\s+{re.escape(self.path)}/?\s*")
        changed = [f"include {staged}\n" if include.fullmatch(line) else line for line in lines]
        if changed == lines:
            raise InvalidOption(
                f"{self.main} does not include {self.path}, so nothing there would be rotated.",
                stage="preflight",
                hint=f"Put `include {self.path}` back.",
            )
        return "".join(changed)

    def _ask(self, main: str, scratch: str) -> Counter[str]:
        argv = [self.program or "logrotate", "--debug", "--state", "/dev/null", main]
        try:
            # Not `_process.run`: it keeps only the beginning and the end of what a tool says, and this says a lot.
            answer = subprocess.run(  # pylint: disable=ansible-bad-function
                argv,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ToolFailed(f"logrotate did not end within {_TIMEOUT} s.", stage="validate") from None
        said = answer.stderr.decode(errors="replace").replace(scratch, os.path.dirname(self.path))
        # Its exit code is 0 for some errors, such as a file that it skips because of its owner.
        errors = Counter(re.sub(r":[0-9]+ ", ": ", text, count=1) for text in re.findall("^error: (.*)$", said, re.M))
        if answer.returncode and not errors:
            errors[f"exit code {answer.returncode}: {said.strip()[-500:]}"] = 1
        return errors


def _hint(said: str) -> str:
    if "insecure permissions" in said:
        return "The directory belongs to a service or is writable by its group: say as whom to rotate with su."
    if "duplicate log entry" in said:
        return "Another file in /etc/logrotate.d rotates the same log: name it in replaces, and it is set aside."
    if "unknown user" in said or "unknown group" in said:
        return "The account must exist on the host before its logs are declared."
    return "Change the declaration in holdfast_logs."
