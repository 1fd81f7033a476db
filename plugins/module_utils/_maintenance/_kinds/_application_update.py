# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action `application_update`: a git checkout is brought up to date, installed, restarted and proved well.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..._deadline import Deadline
from ..._declaration._report import Report
from ..._errors import HoldfastError, Interrupted
from ..._health._interface import Check
from ..._health._parse import collect_checks, parse_checks, secrets_of
from ..._health._tool import environment_of, examine_tool
from ..._progress import Progress
from ..._secret_files import private_file, secret
from ..._spec import Spec
from .._application._access import Access
from .._application._checkout import Checkout
from .._application._marker import Markers
from .._application._service import PM2_CHECK, SERVICES_CHECK, Service
from .._application._tell import Plan, done, warn
from .._application._update import COMPLETE, ROLL_BACK, Update, Wish, named
from .._application._workplace import Step, Workplace, workplace
from .._interface import Action
from .._pg._options import examine_at_least, examine_duration, seconds_of
from .._section import Section

_STEPS = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "command": {"type": "list", "elements": "str", "required": True},
        "directory": {"type": "str", "default": "."},
        "timeout": {"type": "str", "default": "15m"},
    },
}
_DURATIONS = ("health_wait", "fetch_timeout")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+@-]{0,254}")
_UNIT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9:_.@\\-]{0,254}")
_MOST_COMMITS = 1000
_LOOK_AT_REMOTE = 5.0
"""Seconds that a look gives the remote at most."""


class ApplicationUpdate(Action):
    """Refuses local changes; fetches, checks out, installs, restarts, waits for health; goes back when one fails."""

    name = "application_update"
    title = "Update of an application from its git repository"
    SPEC = Spec(
        {
            "directory": {"type": "path", "required": True},
            "remote": {"type": "str", "default": "origin"},
            "branch": {"type": "str"},
            "version": {"type": "str"},
            "run_as": {"type": "str"},
            "username": {"type": "str", "default": "x-access-token"},
            "token": {"type": "str", "no_log": True},
            "token_file": {"type": "path", "no_log": False},
            "ssh_key_file": {"type": "path", "no_log": False},
            "ssh_known_hosts_file": {"type": "path", "no_log": False},
            "fetch_timeout": {"type": "str", "default": "10m"},
            "install": _STEPS,
            "environment": {"type": "dict", "default": {}},
            "environment_file": {"type": "path", "no_log": False},
            "umask": {"type": "str", "default": "022"},
            "services": {"type": "list", "elements": "str", "default": []},
            "pm2": {"type": "list", "elements": "str", "default": []},
            "pm2_home": {"type": "path"},
            "restart": _STEPS,
            "health": {"type": "list", "elements": "dict", "default": []},
            "health_wait": {"type": "str", "default": "60s"},
            "health_stay": {"type": "str", "default": "5s"},
            "rollback": {"type": "bool", "default": True},
            "unfinished": {"type": "str", "choices": [ROLL_BACK, COMPLETE], "default": ROLL_BACK},
            "limit": {"type": "int", "default": 20},
            "state_dir": {"type": "path", "default": "/var/lib/holdfast"},
        },
        mutually_exclusive=[("branch", "version"), ("token", "ssh_key_file"), ("token_file", "ssh_key_file")],
    )

    @classmethod
    def examine(cls, options: Mapping[str, Any], report: Report) -> None:
        if not options["directory"].startswith("/"):
            report.key("directory").add("must be an absolute path")
        for option in ("remote", "branch", "version"):
            name = options.get(option)
            if name is not None and (not _NAME.fullmatch(name) or ".." in name or "@{" in name):
                report.key(option).add("is no name of that kind; a URL is set in the checkout (git remote set-url)")
        for option, form in (("services", _UNIT), ("pm2", _UNIT)):
            for number, name in enumerate(options[option]):
                if not form.fullmatch(name) or (option == "pm2" and name == "all"):
                    report.key(option).index(number).add("is no name of one of them")
        if not re.fullmatch("0?[0-7]{3}", options["umask"]):
            report.key("umask").add('must be three octal digits in quotes, such as "022"')
        for option in _DURATIONS:
            examine_duration(options, option, report)
        examine_duration(options, "health_stay", report, zero=True)
        examine_at_least(options, 1, report, "limit")
        if options["limit"] > _MOST_COMMITS:
            report.key("limit").add(f"must be at most {_MOST_COMMITS}")
        examine_tool(options, report)
        for option in ("install", "restart"):
            for number, step in enumerate(options[option]):
                _examine_step(step, report.key(option).index(number))
        _examine_health(options["health"], report.key("health"))

    @classmethod
    def written(cls, options: Mapping[str, Any]) -> Sequence[str]:
        return tuple(filter(None, (options["directory"], options.get("pm2_home"))))

    def look(self, deadline: Deadline) -> Section:
        options = self.options
        checkout, service = self._opened()
        place = checkout.place.directory
        plan = Plan(place, checkout.head())
        left = Markers(options["state_dir"], place).read()
        if left is not None:
            then = "completed" if options["unfinished"] == COMPLETE else "rolled back"
            plan.unfinished = (
                f"An update to {left.target} that began at {left.started} had not ended ({left.stage}); "
                f"it would be {then} first."
            )
            plan.findings.append(
                warn("unfinished_update", plan.unfinished, place, "Run the update again, by its name.", critical=True)
            )
        self._look_for_refusals(plan, checkout, service)
        try:
            # Last, for the network may take all of the time that is left.
            seconds = min(_LOOK_AT_REMOTE, deadline.remaining("asking the remote"))
            plan.target = checkout.target(options.get("branch"), options.get("version"), seconds)
            if plan.target.commit and checkout.resolve(plan.target.commit):
                plan.notes = checkout.notes(plan.head.commit, plan.target.commit, options["limit"])
                checkout.refuse_loss(plan.target)
        except Interrupted:
            raise
        except HoldfastError as error:
            plan.findings.append(warn(error.code, str(error), place))
            plan.refused = plan.refused or error.message
        return plan.as_section()

    def _look_for_refusals(self, plan: Plan, checkout: Checkout, service: Service) -> None:
        files = [] if plan.unfinished else checkout.changed_files()
        if files:
            plan.refused = f"{plan.directory} has local changes: {named(files)}."
            advice = "Commit and push them, or give them up: git stash, or git checkout -- FILE."
            plan.findings.append(warn("local_changes", plan.refused, plan.directory, advice))
        try:
            service.missing()
        except Interrupted:
            raise
        except HoldfastError as error:
            plan.findings.append(warn("service_missing", str(error), plan.directory))
            plan.refused = plan.refused or error.message

    def act(self, progress: Progress) -> Section:
        options = self.options
        checkout, service = self._opened()
        wish = Wish(
            branch=options.get("branch"),
            version=options.get("version"),
            install=_steps(options["install"]),
            rollback=options["rollback"],
            unfinished=options["unfinished"],
            fetch_timeout=seconds_of(options, "fetch_timeout"),
            limit=options["limit"],
        )
        outcome = Update(checkout, service, wish, options["state_dir"], progress).run()
        return done(checkout.place.directory, outcome)

    def _opened(self) -> tuple[Checkout, Service]:
        """The checkout, which is one, and what runs of it."""
        options = self.options
        environment, secrets = environment_of(options)
        place = workplace(options["directory"], options.get("run_as"), options["umask"], environment, secrets)
        checkout = Checkout(place, options["remote"], self._access())
        checkout.check()
        return checkout, self._service(place)

    def _access(self) -> Access:
        path = self.options.get("ssh_key_file")
        key = private_file(path, "ssh_key_file") if path else None
        token = secret(self.options, "token")
        return Access(self.options["username"], token, key, self.options.get("ssh_known_hosts_file"))

    def _service(self, place: Workplace) -> Service:
        options = self.options
        return Service(
            place,
            units=tuple(options["services"]),
            processes=tuple(options["pm2"]),
            pm2_home=options.get("pm2_home"),
            steps=_steps(options["restart"]),
            checks=_checks(options["health"]),
            wait=seconds_of(options, "health_wait"),
            stay=seconds_of(options, "health_stay"),
        )


def _steps(values: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    return tuple(Step(tuple(each["command"]), each["directory"], seconds_of(each, "timeout")) for each in values)


def _checks(values: Sequence[Mapping[str, Any]]) -> tuple[Check, ...]:
    return parse_checks([dict(each) for each in values])


def _examine_step(step: Mapping[str, Any], report: Report) -> None:
    if not step["command"] or not step["command"][0]:
        report.key("command").add("must begin with a program")
    if os.path.isabs(step["directory"]) or ".." in step["directory"].split("/"):
        report.key("directory").add("must lie below the checkout, and be relative to it")
    examine_duration(step, "timeout", report)


def _examine_health(values: Sequence[Mapping[str, Any]], report: Report) -> None:
    lines: list[str] = []
    checks = collect_checks([dict(each) for each in values], lines)
    for line in lines:
        report.add(line)
    for check in checks:
        if check.name in (SERVICES_CHECK, PM2_CHECK):
            report.add(f"{check.name} is a check that is made by itself; choose another name")
        for option in secrets_of(check):
            report.add(f"{check.name}: {option}: a secret stands in a file here: use {option}_file")
