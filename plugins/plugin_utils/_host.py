# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From everything that is declared of a host to the files of its /etc/holdfast.

PRIVATE to the collection; may change without notice. Knows no Ansible.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Callable, TypeVar

from ansible_collections.holdfast.ops.plugins.module_utils import _unsafe_yaml
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._host import (
    HostSettings,
    Port,
    collect_host,
    ports_of,
)
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._model import Component, Declaration
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._report import InvalidDeclaration, Report
from ansible_collections.holdfast.ops.plugins.module_utils._declaration._secrets import PlaceSecret, place_secrets
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption
from ansible_collections.holdfast.ops.plugins.module_utils._exporters import _parse as exporters_of
from ansible_collections.holdfast.ops.plugins.module_utils._health import _parse as health
from ansible_collections.holdfast.ops.plugins.module_utils._health._interface import Check
from ansible_collections.holdfast.ops.plugins.module_utils._host import _paths
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance import _parse as maintenance
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._parse import Maintenance
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._registry import KINDS
from ansible_collections.holdfast.ops.plugins.module_utils._notify._parse import Notifications, parse_notifications
from ansible_collections.holdfast.ops.plugins.module_utils._schedules._parse import parse_schedule
from ansible_collections.holdfast.ops.plugins.module_utils._schedules._write import crontab
from ansible_collections.holdfast.ops.plugins.module_utils._upkeep._cleanups import parse_cleanups
from ansible_collections.holdfast.ops.plugins.module_utils._upkeep._logs import parse_logs
from ansible_collections.holdfast.ops.plugins.plugin_utils._declared import (
    declared_options,
    in_shared_tmp,
    read_declaration,
    uses_shared_tmp,
    written_directories,
)

VARIABLES = (
    "holdfast_components",
    "holdfast_repositories",
    "holdfast_notifications",
    "holdfast_health_checks",
    "holdfast_health_timers",
    "holdfast_health_listen",
    "holdfast_maintenance",
    "holdfast_maintenance_schedules",
    "holdfast_maintenance_tell",
    "holdfast_logs",
    "holdfast_cleanups",
    "holdfast_exporters",
    "holdfast_scheduler",
    "holdfast_textfile_dir",
    "holdfast_time_zone",
)
"""Everything that can be declared of a host."""

_WORK = (
    "holdfast_components",
    "holdfast_health_checks",
    "holdfast_maintenance",
    "holdfast_logs",
    "holdfast_cleanups",
    "holdfast_exporters",
)

T = TypeVar("T")


@dataclass(frozen=True)
class Declared:
    """What was declared of a host, checked. `values` are the variables themselves; they hold secrets."""

    values: Mapping[str, Any] = field(repr=False)
    declaration: Declaration | None = field(repr=False)
    notifications: Notifications = field(repr=False)
    checks: tuple[Check, ...] = field(repr=False)
    maintenance: Maintenance = field(repr=False)
    settings: HostSettings

    @property
    def work(self) -> tuple[str, ...]:
        """The variables that give the host something to do; the others only say how, and often stand for all hosts."""
        return tuple(name for name in _WORK if self.values[name])


def read_host(values: Mapping[str, Any]) -> Declared:
    """Check everything that is declared of a host, as a whole.

    Args:
        values: variable → value, templated and decrypted; those that are not set are None or missing.

    Raises:
        InvalidDeclaration: with every problem of every part, and no value.
    """
    lines: list[str] = []
    found = {name: plain(values.get(name)) for name in VARIABLES}
    declaration = None
    if found["holdfast_components"] is not None:
        declaration = _collected(
            lines, lambda: read_declaration(found["holdfast_components"], found["holdfast_repositories"])
        )
    components = declaration.components if declaration is not None else ()
    # When the components cannot be read, what names them cannot be judged.
    tags = {each.name: each.tags for each in components} if declaration is not None or not lines else None
    notifications = _collected(lines, lambda: parse_notifications(found["holdfast_notifications"], tags))
    checks = _collected(lines, lambda: health.parse_checks(found["holdfast_health_checks"] or [])) or ()
    if found["holdfast_health_timers"] is not None:
        _collected(lines, lambda: health.parse_timers(found["holdfast_health_timers"]))
    tasks = (found["holdfast_maintenance"], found["holdfast_maintenance_schedules"], found["holdfast_maintenance_tell"])
    looked_after = _collected(lines, lambda: maintenance.parse_maintenance(*tasks, components=tags)) or Maintenance()
    _collected(lines, lambda: parse_logs(found["holdfast_logs"]))
    repositories = declaration.repositories.values() if declaration is not None else ()
    precious = [str(one.options["path"]) for one in repositories if "path" in one.options]
    _collected(lines, lambda: parse_cleanups(found["holdfast_cleanups"], precious=precious))
    exporters = _collected(lines, lambda: exporters_of.parse_exporters(found["holdfast_exporters"])) or ()
    listening = [Port(number, by) for number, by in exporters_of.ports_of(exporters)]
    settings = collect_host(found, [*_ports(components, checks, looked_after), *listening], lines)
    if settings.scheduler == "cron":
        _check_cron(components, looked_after, settings, lines)
    if lines:
        raise InvalidDeclaration(lines)
    return Declared(found, declaration, notifications or Notifications(), checks, looked_after, settings)


def _collected(lines: list[str], parse: Callable[[], T]) -> T | None:
    """What a parser gives; its problems are added to those of the others, and then it is None."""
    try:
        return parse()
    except InvalidDeclaration as error:
        lines += error.problems
        return None


def _ports(components: tuple[Component, ...], checks: tuple[Check, ...], looked_after: Maintenance) -> Iterator[Port]:
    for component in components:
        yield from ports_of(component.options, f"component {component.name}")
    for check in checks:
        yield from ports_of(check.options, f"health check {check.name}")
    for task in looked_after.tasks:
        yield from ports_of(task.options, f"maintenance task {task.name}")


def _check_cron(
    components: tuple[Component, ...], looked_after: Maintenance, settings: HostSettings, lines: list[str]
) -> None:
    """Cron cannot say everything that a timer can; what it cannot is a problem of the declaration."""
    for component in components:
        report = Report(lines, f"component {component.name}")
        for key, schedule in (
            ("schedule", component.schedule),
            ("verification.schedule", component.verification_schedule),
            ("drill", component.drill),
        ):
            _check_cron_of(schedule, settings, report.key(key))
    for part, schedule in looked_after.due.items():
        _check_cron_of(schedule, settings, Report(lines, maintenance.SCHEDULES).key(part))


def _check_cron_of(schedule: str, settings: HostSettings, report: Report) -> None:
    try:
        crontab(parse_schedule(schedule), settings.time_zone, settings.time_zone)
    except InvalidOption as error:
        report.add(error.message)


def plain(value: Any) -> Any:
    """The same in Python's own types: Ansible's strings carry tags, and its containers template what they hold."""
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return value


# -- files ------------------------------------------------------------------------------------------------------------


def files_of(declared: Declared, hostname: str, interpreter: str, root: str = "") -> dict[str, str]:
    """The files of the host's /etc/holdfast: name below it → content.

    Args:
        hostname: how the inventory calls the host; its reports and metrics go on under this name.
        interpreter: the Python that runs holdfast's modules there.
        root: a directory that everything on the host lies below; only tests have one.
    """
    files: dict[str, str] = {}

    def place(name: str, secret: str) -> str:
        path = f"{_paths.SECRETS}/{_safe(name)}"
        below = path[len(_paths.CONFIG) + 1 :]
        if below in files:
            raise AssertionError(f"two secrets would lie in {path}")
        files[below] = f"{secret}\n"
        return f"{root}{path}"

    variables: dict[str, Any] = {
        "ansible_connection": _unsafe_yaml.Plain("local"),
        "ansible_python_interpreter": interpreter,
        "holdfast_interpreter": interpreter,
        **_resolved(declared, place),
    }
    inventory = {"all": {"hosts": {hostname: variables}}}
    checks = [_with_files(check, place) for check in declared.checks]
    files["inventory.yml"] = f"# Written by holdfast.ops.agent. Do not edit.\n{_unsafe_yaml.dump(_native(inventory))}\n"
    files["notify.json"] = _json(declared.notifications.as_config(place))
    files["health.json"] = _json(health.as_config(checks))
    files["host.json"] = _json(_of_host(declared, hostname))
    files["ansible.cfg"] = _ansible_cfg(root)
    return files


def _resolved(declared: Declared, place: PlaceSecret) -> dict[str, Any]:
    """The variables that the playbooks read, with every secret in a file of its own."""
    return {
        **_resolved_components(declared, place),
        **_resolved_maintenance(declared, place),
        **({"holdfast_textfile_dir": declared.settings.textfile_dir} if declared.settings.textfile_dir else {}),
    }


def _resolved_maintenance(declared: Declared, place: PlaceSecret) -> dict[str, Any]:
    if not declared.maintenance.tasks:
        return {}
    kinds = {task.name: KINDS[task.kind] for task in declared.maintenance.tasks}
    return {
        maintenance.SCHEDULES: dict(declared.maintenance.schedules),
        maintenance.VARIABLE: [
            place_secrets(values, kinds[values["name"]].SPEC.options, f"maintenance-{values['name']}", place)
            for values in declared.values[maintenance.VARIABLE]
        ],
    }


def _resolved_components(declared: Declared, place: PlaceSecret) -> dict[str, Any]:
    if declared.declaration is None:
        return {}
    engines = {component.name: component.engine for component in declared.declaration.components}
    repository_options, engine_options = declared_options()
    return {
        "holdfast_repositories": {
            name: place_secrets(values, repository_options[values["type"]], f"repository-{name}", place)
            for name, values in declared.values["holdfast_repositories"].items()
        },
        "holdfast_components": [
            place_secrets(values, engine_options[engines[values["name"]]], f"component-{values['name']}", place)
            for values in declared.values["holdfast_components"]
        ],
    }


def _with_files(check: Check, place: PlaceSecret) -> Check:
    secrets = health.secrets_of(check)
    return health.with_files(check, {key: place(f"health-{check.name}-{key}", value) for key, value in secrets.items()})


def _of_host(declared: Declared, hostname: str) -> dict[str, Any]:
    """What the command needs to know; it holds no secret."""
    components = declared.declaration.components if declared.declaration is not None else ()
    return {
        "inventory_hostname": hostname,
        "scheduler": declared.settings.scheduler,
        "time_zone": declared.settings.time_zone,
        "components": [
            {"name": each.name, "engine": each.engine, "set": each.set, "tags": list(each.tags)} for each in components
        ],
        "maintenance": {
            "tell": declared.maintenance.tell,
            "parts": list(declared.maintenance.due),
            "tasks": [
                {"name": each.name, "kind": each.kind, "every": each.every, "action": KINDS[each.kind].action}
                for each in declared.maintenance.tasks
            ],
        },
    }


def parts_of(declared: Declared) -> dict[str, dict[str, Any]]:
    """The parts of maintenance that run by themselves: their schedule, tasks, and where they write."""
    components = {each.name: each for each in declared.declaration.components} if declared.declaration else {}
    parts = {}
    for part, schedule in declared.maintenance.due.items():
        tasks = declared.maintenance.of_part(part)
        backed_up = [components[name] for task in tasks for name in task.backup]
        directories = {path for each in backed_up for path in written_directories(each)}
        directories |= {str(path).rstrip("/") for task in tasks for path in KINDS[task.kind].written(task.options)}
        directories |= {declared.settings.textfile_dir} - {""}
        parts[part] = {
            "schedule": schedule,
            "tasks": [task.name for task in tasks],
            "directories": sorted(directories),
            "shared_tmp": any(map(uses_shared_tmp, backed_up)) or any(in_shared_tmp(task.options) for task in tasks),
        }
    return parts


def _ansible_cfg(root: str) -> str:
    """The settings of jobs and commands: nothing of the machine's own configuration of Ansible reaches them."""
    home = f"{root}{_paths.ANSIBLE_HOME}"
    lines = [
        "# Written by holdfast.ops.agent. Do not edit.",
        "[defaults]",
        f"inventory = {root}{_paths.INVENTORY}",
        f"collections_path = {root}{_paths.CURRENT}",
        f"home = {home}",
        f"local_tmp = {home}/tmp",
        f"remote_tmp = {home}/tmp",
        "retry_files_enabled = false",
        "nocows = true",
        "# They are for those who write playbooks; here nobody could do anything about them.",
        "deprecation_warnings = false",
    ]
    return "\n".join([*lines, ""])


def _safe(name: str) -> str:
    """A name as the name of a file; what stands in it are checked names and options, so it stays unique."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def _json(value: Any) -> str:
    return json.dumps(_native(value), indent=2, sort_keys=True) + "\n"


def _native(value: Any) -> Any:
    """With dates, which only options of any kind can hold, as Ansible gives them to modules: as strings."""
    if isinstance(value, Mapping):
        return {key: _native(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_native(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value
