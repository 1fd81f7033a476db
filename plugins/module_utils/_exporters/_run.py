# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the parameters of the module `host_exporters` to exporters on the host, and what it returns.

PRIVATE to the collection; may change without notice. `module` is an AnsibleModule or anything that looks like one.
"""

from __future__ import annotations

import json
from typing import Any

from .._errors import Unsupported
from .._run import Module, guarded
from .._spec import Spec
from . import _apply, _machine, _place
from ._model import Exporter
from ._parse import parse_exporters
from ._place import Place

PRESENT, ABSENT, PLANNED = "present", "absent", "planned"

HOST_EXPORTERS = Spec(
    {
        "state": {"type": "str", "choices": [PRESENT, ABSENT, PLANNED], "default": PRESENT},
        "exporters": {"type": "list", "elements": "dict", "default": []},
        "textfile_dir": {"type": "path", "default": ""},
        "mirror": {"type": "str", "default": ""},
        "declaration": {"type": "str", "no_log": True},
    }
)


def run_host_exporters(module: Module) -> None:
    """The whole of the module."""
    guarded(module, lambda: _run(module))


def _run(module: Module) -> dict[str, Any]:
    params = module.params
    exporters: tuple[Exporter, ...] = ()
    if params["state"] != ABSENT:
        declared = json.loads(params["declaration"]) if params["declaration"] else params["exporters"]
        exporters = parse_exporters(declared, textfile_dir=params["textfile_dir"] or "", mirror=params["mirror"] or "")
    leftovers = _apply.leftovers({exporter.name for exporter in exporters})
    if (exporters or leftovers) and not _machine.is_running_systemd():
        raise Unsupported("This host does not run systemd, which starts the exporters.", stage="preflight")
    if params["state"] == PLANNED:
        return _planned(exporters, leftovers)
    places = [_place.look(exporter, check_mode=module.check_mode) for exporter in exporters]
    steps = [f"{name}: take it away" for name in leftovers] + [step for place in places for step in place.steps]
    steps += [
        f"{place.exporter.name}: make the role {place.exporter.account}"
        for place in places
        if _place.role_is_missing(place)
    ]
    differences = [diff for place in places for diff in _place.differences(place)]
    warnings: list[str] = [] if module.check_mode else _do(places, leftovers)
    return {
        "changed": bool(steps),
        "changes": steps,
        "exporters": [_shown(place) for place in places],
        "diff": differences,
        "warnings": warnings,
        "msg": f"{len(places)} exporters, {len(steps)} changes." if steps else f"{len(places)} exporters as declared.",
    }


def _do(places: list[Place], leftovers: list[str]) -> list[str]:
    """Take away, prepare all, then switch one after the other; returns what is not well with what they look at."""
    warnings: list[str] = []
    for place in places:
        _apply.prepare(place)
    # What is declared no more goes first: another may take its port.
    kept = {_place.package_unit(place.exporter) for place in places}
    for name in leftovers:
        warnings += _apply.remove(name, kept)
    for place in places:
        warnings += _apply.commit(place)
    return warnings


def _planned(exporters: tuple[Exporter, ...], leftovers: list[str]) -> dict[str, Any]:
    missing = []
    for exporter in exporters:
        version = _place.version_of(exporter)
        if version is not None and not version.is_here:
            missing.append(exporter.name)
    return {
        "changed": False,
        "packages": _place.missing_packages(exporters),
        "archives": missing,
        "leftovers": leftovers,
        "needed": bool(exporters or leftovers),
        "msg": "Looked at what the exporters need.",
    }


def _shown(place: Place) -> dict[str, Any]:
    exporter = place.exporter
    return {
        "name": exporter.name,
        "kind": exporter.kind,
        "unit": exporter.unit,
        "account": exporter.account,
        "listen": f"{exporter.address}:{exporter.port}",
        "tls": exporter.tls,
        "certificate": place.certificate,
        "version": place.version.version if place.version is not None else None,
    }
