#!/usr/bin/python
# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module holdfast.ops.application_update."""

from __future__ import annotations

DOCUMENTATION = r"""
module: application_update
short_description: Update an application from its git repository, and go back when that fails
version_added: 1.0.0
author:
  - holdfast.ops authors (@holdfast)
description:
  - Brings a git checkout to what its remote has, installs it, restarts what runs of it, and waits until health checks
    say that it is well. When any of that fails, the commit from before is checked out, installed and restarted again.
  - Nothing is touched while the checkout has local changes, or commits that the remote does not have.
  - git and all commands run as the user that the checkout belongs to. Commands are argument lists; no shell is between.
  - What is being done is written down in O(state_dir) first. The next run after one that was killed finds that, and
    goes back before it does anything else (O(unfinished)).
  - Data is not rolled back. Where installing changes it, such as by migrations of a database, back that up first and
    let migrations be such that the version before can live with them.
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
    details:
      - The remote is asked what it has (C(git ls-remote)) and nothing is fetched, so that new commits are counted and
        named only when the checkout has them already.
  diff_mode:
    description: Returns details on what has changed (or would change in check mode) when in diff mode.
    support: none
  idempotent:
    description: Run again without a change in between, it changes nothing.
    support: full
options:
  directory:
    description: The checkout, as an absolute path.
    type: path
    required: true
  remote:
    description: The name of the remote in the checkout. Its URL must hold no credential.
    type: str
    default: origin
  branch:
    description: The branch to follow. Without it and O(version) the one that is checked out.
    type: str
  version:
    description: A tag, or a commit, to install. It may be older than what is installed.
    type: str
  run_as:
    description:
      - The user that git and the commands run as. Without it the one that the directory belongs to.
      - Never root in a checkout that others may write, for its hooks and settings would run as root.
    type: str
  username:
    description: The user that the token belongs to, where the remote's URL names none and the server asks for it.
    type: str
    default: x-access-token
  token:
    description:
      - A token or password for a remote that is reached by https.
      - It is given to git alone, in memory. It is in no argument list, environment, file or setting of the checkout.
    type: str
  token_file:
    description: A file on the host that holds the token, which only root may read.
    type: path
  ssh_key_file:
    description:
      - A private key without a passphrase for a remote that is reached by SSH, which only root may read. Without it
        the user's own keys and settings count.
    type: path
  ssh_known_hosts_file:
    description: The file that holds the server's key. Without it those of the user and of the host.
    type: path
  fetch_timeout:
    description: How long the remote may take.
    type: str
    default: 10m
  install:
    description: Commands that make a checkout ready to run, in this order. They are run again when it is rolled back.
    type: list
    elements: dict
    default: []
    suboptions: &step
      command:
        description: The program and its arguments. A program with a slash in it is relative to the directory.
        type: list
        elements: str
        required: true
      directory:
        description: Where it runs, relative to the checkout.
        type: str
        default: .
      timeout:
        description: How long it may take.
        type: str
        default: 15m
  environment:
    description:
      - Variables of the commands' environment, beside C(PATH), C(HOME) and C(USER). No secrets.
      - In a job of the host, homes are read-only; caches of package managers go to where variables say.
    type: dict
    default: {}
  environment_file:
    description: A file of further variables, as C(EnvironmentFile=) of systemd reads it.
    type: path
  umask:
    description: The umask of git and the commands, in quotes.
    type: str
    default: "022"
  services:
    description: Units of systemd that are restarted, in this order. One that was stopped is started.
    type: list
    elements: str
    default: []
  pm2:
    description: Processes of PM2 that are restarted after that, as O(run_as).
    type: list
    elements: str
    default: []
  pm2_home:
    description: Where PM2 keeps what it knows. Without it C(.pm2) in the user's home.
    type: path
  restart:
    description: Commands that restart what neither systemd nor PM2 keeps, such as C(docker compose up -d).
    type: list
    elements: dict
    default: []
    suboptions: *step
  health:
    description:
      - Health checks that say whether it is well, in the form of C(holdfast_health_checks) (docs/health.md). Their
        secrets stand in files.
      - That O(services) are active and O(pm2) online is checked by itself.
    type: list
    elements: dict
    default: []
  health_wait:
    description: How long it may take until all checks pass.
    type: str
    default: 60s
  health_stay:
    description: How long they have to go on passing then.
    type: str
    default: 5s
  rollback:
    description: Whether an update that fails is undone. Otherwise it is left as it is, and the next run begins there.
    type: bool
    default: true
  unfinished:
    description:
      - What becomes of an update that was killed. V(roll_back) goes back to the commit before it, and then updates.
        V(complete) installs the commit that was being installed, and that is all.
    type: str
    choices: [roll_back, complete]
    default: roll_back
  limit:
    description: How many of the new commits are named.
    type: int
    default: 20
  state_dir:
    description: Where it keeps what it is doing.
    type: path
    default: /var/lib/holdfast
  progress_file:
    description: A file that is told what is being done.
    type: path
notes:
  - Runs as root (C(become)), or as the user that the checkout belongs to.
  - A checkout with submodules needs C(git submodule update --init --recursive) as a command of O(install).
seealso:
  - module: holdfast.ops.health_check
"""

EXAMPLES = r"""
- name: Update OmniDoc (look first, with --check)
  holdfast.ops.application_update:
    directory: /opt/omnidoc
    branch: main
    token_file: /etc/omnidoc/deploy.token
    install:
      - {command: [.venv/bin/pip, install, --requirement, requirements.txt]}
      - {command: [pnpm, install, --frozen-lockfile], directory: frontend}
      - {command: [pnpm, build], directory: frontend, timeout: 30m}
    environment_file: /etc/omnidoc/omnidoc.env
    services: [omnidoc-backend, omnidoc-celery]
    pm2: [omnidoc-frontend]
    health:
      - {name: backend, kind: http, url: "http://127.0.0.1:8000/docs"}
      - name: celery
        kind: celery
        app: src.tasks.celery_app
        command: /opt/omnidoc/.venv/bin/celery
        directory: /opt/omnidoc
        run_as: omnidoc
        timeout: 15s
  become: true

- name: Install a certain release of an application that Docker runs
  holdfast.ops.application_update:
    directory: /srv/shop
    version: v2.4.1
    ssh_key_file: /etc/shop/deploy.key
    restart:
      - {command: [docker, compose, up, --detach, --build], timeout: 30m}
    health:
      - {name: shop, kind: http, url: "http://127.0.0.1:8080/health", json: {status: ok}}
    health_wait: 2m
  become: true
"""

RETURN = r"""
before:
  description: The commit that was checked out.
  returned: success
  type: str
  sample: 5f1c0f1d1d0cfd2ad6b1f6c1e2a8be1bd7aa7e41
after:
  description: The commit that is checked out now, or would be; null where only a fetch could tell.
  returned: success
  type: str
  sample: 9a3c0f1d1d0cfd2ad6b1f6c1e2a8be1bd7aa7e42
branch:
  description: The branch that is checked out, null for none.
  returned: success
  type: str
  sample: main
target:
  description: The branch, tag or commit that was wanted; null where nothing was updated, or the remote did not answer.
  returned: success
  type: str
  sample: main
commit_count:
  description: How many commits came; null in check mode where only a fetch could tell.
  returned: success
  type: int
  sample: 12
commits:
  description: The newest of them.
  returned: success
  type: list
  elements: dict
  sample:
    - {commit: 9a3c0f1d1d0cfd2ad6b1f6c1e2a8be1bd7aa7e42, time: "2026-11-20T09:12:44+01:00", subject: Exports are faster}
repaired:
  description: What was done about an earlier update that had not ended, a sentence; null when there was none.
  returned: success, outside of check mode
  type: str
install_seconds:
  description: How long each of the commands took.
  returned: success, outside of check mode
  type: dict
  sample: {"install 1 of 1: .venv/bin/pip install --requirement requirements.txt": 12.3}
health:
  description: What each check found in the end.
  returned: success, outside of check mode
  type: dict
  sample: {restarted_services: pass, backend: pass}
findings:
  description: What a person should know of it.
  returned: success
  type: list
  elements: dict
  contains:
    code:
      description: Stable, for machines, such as V(local_changes), V(unfinished_update) or V(update_available).
      type: str
    severity:
      description: V(info), V(warning) or V(critical).
      type: str
    text:
      description: A sentence.
      type: str
    subject:
      description: The directory.
      type: str
    advice:
      description: What to do next.
      type: str
section:
  description: The same as a part of a report.
  returned: success
  type: dict
error_code:
  description:
    - The kind of failure. V(rolled_back), what was there before runs again. V(rollback_failed), going back failed too,
      and RV(left_behind) says what stands. V(update_failed), it was not undone because O(rollback) is false.
      V(refused), nothing was touched.
  returned: on failure
  type: str
  sample: rolled_back
stage:
  description: What failed.
  returned: on failure
  type: str
  sample: "install 1 of 1: .venv/bin/pip install --requirement requirements.txt"
left_behind:
  description: What stands now, where that is not what stood before.
  returned: on failure
  type: str
  sample: nothing
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._kinds._application_update import (
    ApplicationUpdate,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._module import module_spec, run_kind


def main() -> None:
    """Entry point."""
    run_kind(AnsibleModule(**module_spec(ApplicationUpdate).module()), ApplicationUpdate)


if __name__ == "__main__":
    main()
