# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What our action plugins share: running a module on the host with the runtime's interpreter, and showing its progress.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.holdfast.ops.plugins.plugin_utils import _progress

DEFAULT_VENV = "/opt/holdfast/venv"
"""Where the role `runtime` puts the client libraries."""
PROGRESS_MODES = ("auto", "live", "lines", "none")
_A_PROCESS_PER_COMMAND = frozenset({"ssh", "local", "docker", "podman", "kubectl"})
"""Connections that a second command can be run over while a first one runs; others may share one session."""
_NOT_A_PERSON = ("CI", "AWX_ISOLATED_DATA_DIR", "RUNNER_OMIT_EVENTS", "JENKINS_URL", "TF_BUILD")
"""Environments whose terminal, if they have one, is a recorder: AWX runs ansible-playbook in a pseudo-terminal."""

display = Display()


class HostAction(ActionBase):
    """An action that runs modules of this collection on a host."""

    _supports_check_mode = True
    _supports_async = True

    def run_module(
        self, task_vars: Mapping[str, Any], args: dict[str, Any], name: str | None = None, label: str = ""
    ) -> dict[str, Any]:
        """Run a module (default: the one that the task is called like) with progress, and return its result."""
        variables = self._with_interpreter(task_vars)
        wrap_async = bool(self._task.async_val) and not self._connection.has_native_async
        own = "progress_file" in args  # somebody watches it already
        with contextlib.nullcontext({}) if own else self._progress(task_vars, label) as options:
            return self._execute_module(
                module_name=name, module_args={**args, **options}, task_vars=variables, wrap_async=wrap_async
            )

    def run_quietly(self, task_vars: Mapping[str, Any], args: dict[str, Any]) -> dict[str, Any]:
        """Run the module of the task's name, which takes no time and shows no progress, and return its result."""
        return self._execute_module(module_args=args, task_vars=self._with_interpreter(task_vars))

    def variable(self, task_vars: Mapping[str, Any], name: str, default: Any = None) -> Any:
        """A variable of the user's, templated; `default` when it is not set or empty."""
        value = decrypted(self._templar.template(task_vars[name])) if name in task_vars else None
        return default if value is None or value == "" else value

    def declared_elsewhere(self, task_vars: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
        """The elements of a list that the other hosts of this play declare, unchecked: each host checks its own."""
        here = task_vars.get("inventory_hostname")
        for host in task_vars.get("ansible_play_hosts_all") or ():
            try:
                declared = () if host == here else task_vars["hostvars"][host].get(name) or ()
                yield from [one for one in declared if isinstance(one, Mapping)]
            except Exception as error:  # its declaration cannot even be templated: it will say so itself
                display.vvv(f"What {host} declares was not looked at: {type(error).__name__}")

    # -- interpreter --------------------------------------------------------------------------------------------

    def _with_interpreter(self, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """The variables with the runtime's interpreter in them, for this task alone, where the host has one."""
        variables = dict(task_vars)
        if "ansible_python_interpreter" in self._task.get_vars():
            return variables  # somebody chose one for this very task
        interpreter = self.variable(task_vars, "holdfast_interpreter") or self._runtime_interpreter(task_vars)
        if interpreter is None:
            return variables
        variables["ansible_python_interpreter"] = interpreter
        host = self._task.delegate_to
        if host:
            delegated = dict(variables.get("ansible_delegated_vars") or {})
            delegated[host] = {**delegated.get(host, {}), "ansible_python_interpreter": interpreter}
            variables["ansible_delegated_vars"] = delegated
        return variables

    def _runtime_interpreter(self, task_vars: Mapping[str, Any]) -> str | None:
        path = f"{self.variable(task_vars, 'holdfast_venv_path', DEFAULT_VENV)}/bin/python"
        found = self._low_level_execute_command(f"test -x {self._connection._shell.quote(path)}", sudoable=False)
        return path if found.get("rc") == 0 else None

    # -- progress -----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _progress(self, task_vars: Mapping[str, Any], label: str) -> Iterator[dict[str, Any]]:
        """Watch the module that is run inside; gives the options that it needs for that."""
        mode = self._progress_mode(task_vars)
        path = None if mode == "none" else self._progress_path()
        if path is None:
            yield {}
            return
        poller = self._second_self()
        quoted = self._connection._shell.quote(path)

        def read() -> str:
            answer = poller._low_level_execute_command(f"cat {quoted}")
            # Until the module has begun to write there is no such file: an answer, though an empty one.
            return str(answer.get("stdout", "")) if answer.get("rc") == 0 else ""

        live = mode == "live"
        default = _progress.LIVE_INTERVAL if live else _progress.LINE_INTERVAL
        interval = float(self.variable(task_vars, "holdfast_progress_interval", default))
        where = f"[{task_vars.get('inventory_hostname', '')}] {label}"
        with _progress.Watcher(read, _show_live if live else _show_line, interval, live, where):
            yield {"progress_file": path}

    def _progress_mode(self, task_vars: Mapping[str, Any]) -> str:
        """How progress is shown: `live`, `lines` or `none`."""
        wanted = str(self.variable(task_vars, "holdfast_progress", "auto"))
        if self._task.async_val or self._task.check_mode or wanted == "none":
            return "none"
        if self._connection.transport.rpartition(".")[2] not in _A_PROCESS_PER_COMMAND:
            return "none"
        if wanted in ("live", "lines"):
            return wanted
        alone = len(task_vars.get("ansible_play_batch") or ()) <= 1  # several would write over each other's line
        person = _progress.TERMINAL and not any(os.environ.get(name) for name in _NOT_A_PERSON)
        quiet = display.verbosity < 2 and os.environ.get("TERM", "dumb") != "dumb"
        return "live" if person and alone and quiet else "lines"

    def _progress_path(self) -> str | None:
        """A file in the task's own temporary directory on the host, which Ansible removes; None where it has none."""
        shell = self._connection._shell
        try:
            if shell.tmpdir is None:
                self._make_tmp_path()
            return str(shell.join_path(shell.tmpdir, "progress.json"))
        except Exception as error:  # a strange connection; if it does not work at all, the module will say so
            display.vvv(f"No progress is shown: {error}")
            return None

    def _second_self(self) -> HostAction:
        """This action with a connection of its own: the first is busy until the module ends."""
        connection = copy.copy(self._connection)
        connection._shell = copy.copy(self._connection._shell)
        connection.become = copy.copy(self._connection.become)  # it remembers what prompt it waits for
        other = copy.copy(self)
        other._connection = connection
        return other


class ModuleAction(HostAction):
    """Runs the module of its own name: the task is as without it, and shows its progress."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        return {**result, **self.run_module(task_vars or {}, dict(self._task.args))}


def decrypted(value: Any) -> Any:
    """The same with plain strings for what was encrypted in place: up to ansible-core 2.18 templating leaves that."""
    if getattr(value, "__ENCRYPTED__", False):
        return str(value)
    if isinstance(value, Mapping):
        return {key: decrypted(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [decrypted(item) for item in value]
    return value


# Progress goes to the standard error: it is written at once, even into a pipe, and what is parsed stays clean.


def _show_live(text: str) -> None:
    width = max(20, display.columns - 1)
    shown = text if len(text) <= width else text[: width - 1] + "…"
    display.display(f"\r\x1b[K{shown}", stderr=True, screen_only=True, newline=False)


def _show_line(text: str) -> None:
    if text:
        display.display(text, stderr=True)
