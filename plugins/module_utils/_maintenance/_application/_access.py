# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How git reaches a remote that asks who we are, without the secret in argv, in the environment or on a disk.

PRIVATE to the collection; may change without notice.

The secret lies in memory, behind a descriptor that only git's own process and its children inherit. A token is told to
git by a credential helper that is one line of shell; a key is read by ssh through git's descriptor, as ssh closes its
own.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ..._errors import InvalidOption, Refused
from ..._process import account

_TOKEN_LIKE = re.compile(r"gh[pousr]_|github_pat_|glpat-|.{32}")


@dataclass(frozen=True)
class Grant:
    """What git is started with."""

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    descriptors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Access:
    """Who we are to the remote.

    Attributes:
        token: for https.
        key: an OpenSSH private key without a passphrase.
        known_hosts: a file; None for those of the user and the system.
    """

    username: str = ""
    token: str | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)
    known_hosts: str | None = None

    @contextlib.contextmanager
    def granted(self, url: str, run_as: str) -> Iterator[Grant]:
        """What lets git, run by that user, into the remote at `url`.

        Raises:
            InvalidOption: the token or the key is of no use for such a URL.
            Refused: a token would travel in clear text.
        """
        ssh = _is_ssh(url)
        if self.token is None and self.key is None:
            yield Grant(environment=self._ssh(None) if ssh and self.known_hosts else {})
            return
        if self.token is not None and ssh:
            raise InvalidOption("A token is of no use: the remote is reached by SSH.", stage="preflight")
        if self.key is not None and not ssh:
            raise InvalidOption("ssh_key_file is of no use: the remote is not reached by SSH.", stage="preflight")
        content = self.key if self.key is not None else self._credential(url)
        descriptor = os.memfd_create("credential")
        try:
            os.write(descriptor, content)
            reader = account(run_as)
            if reader is not None:
                os.fchown(descriptor, reader.uid, reader.gid)
            os.fchmod(descriptor, 0o400)  # ssh wants it so
            if ssh:
                yield Grant(environment=self._ssh(descriptor), descriptors=(descriptor,))
            else:
                yield Grant(_helper(url, descriptor), descriptors=(descriptor,))
        finally:
            os.close(descriptor)

    def _credential(self, url: str) -> bytes:
        """The helper's answer. What the user's own configuration would do with it is switched off by `_helper`."""
        parts = urlsplit(url)
        if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
            raise Refused("The remote is reached by http: the token would travel in clear text.", stage="preflight")
        if parts.scheme not in ("http", "https"):
            raise InvalidOption("A token is of no use: the remote is not reached by https.", stage="preflight")
        lines = f"username={parts.username or self.username}\npassword={self.token}\n"
        if lines.count("\n") != 2 or "\0" in lines:
            raise InvalidOption("The token must be one line.", stage="preflight")
        return lines.encode()

    def _ssh(self, descriptor: int | None) -> dict[str, str]:
        words = ["ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]
        if self.known_hosts:
            words += ["-o", f'UserKnownHostsFile="{self.known_hosts}"']
        command = " ".join(map(shlex.quote, words))
        if descriptor is not None:
            # git gives this line to a shell, whose parent is git.
            command += f" -o IdentitiesOnly=yes -o IdentityAgent=none -i /proc/$PPID/fd/{descriptor}"
        return {"GIT_SSH_COMMAND": command, "GIT_SSH_VARIANT": "ssh"}


def _helper(url: str, descriptor: int) -> tuple[str, ...]:
    """Settings of git: no helper of the user's, who might keep the token in a file, and ours for this server alone."""
    parts = urlsplit(url)
    server = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    tell = f'!f() {{ cat > /dev/null; test "$1" != get || cat /proc/self/fd/{descriptor}; }}; f'
    return ("-c", "credential.helper=", "-c", f"credential.{server}.helper={tell}")


def check_url(url: str) -> None:
    """Refuse a URL with a credential in it: it would stand in argv, in the checkout's settings, and in every log.

    Raises:
        Refused: it has one; the message does not repeat it.
    """
    if "://" not in url:
        return
    parts = urlsplit(url)
    user, colon, _password = parts.netloc.rpartition("@")[0].partition(":")
    if colon or (parts.scheme in ("http", "https") and _TOKEN_LIKE.match(user)):
        raise Refused(
            "The remote's URL holds a credential.",
            stage="preflight",
            hint="Take it out (git remote set-url), withdraw it, and put a new one into token_file.",
        )


def _is_ssh(url: str) -> bool:
    """Whether git reaches it by ssh: `ssh://…`, or `user@host:path`."""
    scheme, sign, _rest = url.partition("://")
    if sign:
        return scheme in ("ssh", "git+ssh", "ssh+git")
    return ":" in url.partition("/")[0]


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
