# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A git checkout: what it holds, what its remote has, and how it gets from one commit to another.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..._errors import InvalidOption, NotFound, Refused, ToolFailed, Unavailable
from ..._process import find_program
from ._access import Access, check_url
from ._workplace import Workplace

LOCAL_TIMEOUT = 120.0
"""Seconds for what git does without the network."""

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_FULL = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SUBJECT = 120


@dataclass(frozen=True)
class Head:
    """Where a checkout stands: a commit, and the branch that is checked out, None for a detached head."""

    commit: str
    branch: str | None = None

    def __str__(self) -> str:
        return f"{self.commit[:12]} ({self.branch or 'detached'})"


@dataclass(frozen=True)
class Target:
    """What is wanted of the remote.

    Attributes:
        name: a branch, a tag or a commit, as it was asked for.
        commit: None when only a fetch can tell.
        branch: the branch to stand on, None to stand on the commit alone.
        ref: what to fetch; None for everything.
    """

    name: str
    commit: str | None
    branch: str | None
    ref: str | None

    def __str__(self) -> str:
        return self.name if not self.commit or self.name == self.commit else f"{self.name} ({self.commit[:12]})"


@dataclass(frozen=True)
class Commit:
    """A commit as release notes name it; `time` is RFC 3339."""

    commit: str
    time: str
    subject: str


@dataclass(frozen=True)
class Notes:
    """What lies between two commits: how many come, the newest of them, and how many are left behind."""

    count: int
    commits: tuple[Commit, ...]
    dropped: int = 0

    def as_data(self) -> list[dict[str, Any]]:
        """Plain values."""
        return [asdict(each) for each in self.commits]


class Checkout:
    """A git checkout, in which git runs as the user of its workplace.

    Args:
        remote: the name of a remote of it.
    """

    def __init__(self, place: Workplace, remote: str, access: Access) -> None:
        self.place = place
        self.remote = remote
        self._access = access
        self._program = find_program("git", package="git")

    def _git(
        self,
        *arguments: str,
        timeout: float = LOCAL_TIMEOUT,
        check: bool = True,
        stage: str = "preflight",
        pass_fds: Sequence[int] = (),
    ) -> tuple[int, str, str]:
        return self.place.run(
            [self._program, *self._settings(), *arguments],
            timeout=timeout,
            stage=stage,
            env=_ENVIRONMENT,
            pass_fds=pass_fds,
            check=check,
        )

    def _settings(self) -> list[str]:
        # The directory is the one that was declared, and run_as is not root unless all of it is root's.
        return ["-c", f"safe.directory={self.place.directory}", "-c", "core.quotePath=false", "-c", "gc.auto=0"]

    def _network(self, *arguments: str, timeout: float, stage: str) -> str:
        """Ask the remote. Raises Unavailable when it does not answer, or not us."""
        url = self.url()
        with self._access.granted(url, self.place.run_as) as grant:
            argv = [self._program, *self._settings(), *grant.arguments, *arguments]
            try:
                _code, out, _said = self.place.run(
                    argv,
                    timeout=timeout,
                    stage=stage,
                    env={**_ENVIRONMENT, **grant.environment},
                    pass_fds=grant.descriptors,
                    secrets=[self._access.token],
                )
            except ToolFailed as error:
                raise Unavailable(
                    f"The remote {self.remote} of {self.place.directory} does not give what is wanted.",
                    stage=stage,
                    tool_output=f"{error.message} {error.tool_output or ''}",
                    hint="Look at its URL (git remote -v), at the network, and at token_file or ssh_key_file.",
                ) from None
        return out

    def check(self) -> None:
        """Refuse what is no checkout of its own.

        Raises:
            InvalidOption: the directory is no checkout, lies inside another, or nothing was committed in it.
        """
        place = self.place.directory
        code, out, said = self._git("rev-parse", "--show-toplevel", check=False)
        if code != 0:
            raise InvalidOption(f"{place} is no git checkout.", stage="preflight", tool_output=said)
        if os.path.realpath(out.rstrip("\n")) != place:
            raise InvalidOption(
                f"{place} lies inside the checkout {out.strip()}.", stage="preflight", hint="Name that one."
            )
        if self._git("rev-parse", "--verify", "--quiet", "HEAD^{commit}", check=False)[0] != 0:
            raise InvalidOption(f"{place} has no commit checked out.", stage="preflight")

    def url(self) -> str:
        """The URL of the remote.

        Raises:
            NotFound: there is no such remote.
            Refused: a credential stands in it.
        """
        code, out, _said = self._git("remote", "get-url", "--", self.remote, check=False)
        if code != 0:
            raise NotFound(f"The checkout {self.place.directory} has no remote {self.remote}.", stage="preflight")
        url = out.strip()
        check_url(url)
        return url

    def head(self) -> Head:
        """Where it stands."""
        commit = self._git("rev-parse", "--verify", "HEAD^{commit}")[1].strip()
        code, branch, _said = self._git("symbolic-ref", "--quiet", "--short", "HEAD", check=False)
        return Head(commit, branch.strip() if code == 0 else None)

    def changed_files(self) -> list[str]:
        """Tracked files that are not as they were committed."""
        out = self._git("status", "--porcelain=v1", "-z", "--untracked-files=no", "--no-renames")[1]
        return [entry[3:] for entry in out.split("\0") if entry]

    def resolve(self, name: str) -> str | None:
        """The commit of a name, when its object is here."""
        code, out, _said = self._git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", check=False)
        return out.strip() if code == 0 else None

    def target(self, branch: str | None, version: str | None, timeout: float) -> Target:
        """What is wanted, as the remote has it now; nothing is fetched.

        Args:
            branch: and `version` are both None for the branch that is checked out.

        Raises:
            NotFound: the remote has no such branch or tag.
            InvalidOption: no branch is checked out, and none was named.
            Unavailable: the remote does not answer.
        """
        if version is None:
            branch = branch or self.head().branch
            if branch is None:
                raise InvalidOption(
                    f"No branch is checked out in {self.place.directory}.",
                    stage="preflight",
                    hint="Set branch or version.",
                )
            ref = f"refs/heads/{branch}"
            commit = self._listed([ref], timeout).get(ref)
            if commit is None:
                raise NotFound(f"The remote {self.remote} has no branch {branch}.", stage="preflight")
            return Target(branch, commit, branch, ref)
        ref = f"refs/tags/{version}"
        listed = self._listed([ref, f"{ref}^{{}}"], timeout)  # the second is what an annotated tag is of
        commit = listed.get(f"{ref}^{{}}") or listed.get(ref)
        if commit is not None:
            return Target(version, commit, None, ref)
        if not _COMMIT.fullmatch(version):
            raise NotFound(f"The remote {self.remote} has no tag {version}.", stage="preflight")
        commit = self.resolve(version) or (version if _FULL.fullmatch(version) else None)
        return Target(version, commit, None, None)

    def _listed(self, refs: Sequence[str], timeout: float) -> dict[str, str]:
        out = self._network("ls-remote", "--", self.remote, *refs, timeout=timeout, stage="preflight")
        pairs = (line.split("\t", 1) for line in out.splitlines() if "\t" in line)
        return {name: commit for commit, name in pairs}

    def fetch(self, target: Target, timeout: float) -> Target:
        """Bring the objects of what is wanted.

        Raises:
            Unavailable: the remote does not give them.
            NotFound: it has no such commit (any more).
        """
        commit = target.commit
        if commit is None or self.resolve(commit) is None:
            # A commit that no name of the remote's is at: it is on one of the branches or tags, or nowhere.
            options, refs = (["--tags"], []) if target.ref is None else ([], [target.ref])
            arguments = ["fetch", "--quiet", "--recurse-submodules=no", *options, "--", self.remote, *refs]
            self._network(*arguments, timeout=timeout, stage="fetch")
            commit = self.resolve(commit or target.name)
        if commit is None:
            raise NotFound(
                f"The remote {self.remote} no longer has {target}, or no branch or tag of it holds that commit.",
                stage="fetch",
                hint="Run it again.",
            )
        return Target(target.name, commit, target.branch, target.ref)

    def notes(self, old: str, new: str, limit: int) -> Notes:
        """What lies between two commits whose objects are here."""
        count = int(self._git("rev-list", "--count", f"{old}..{new}")[1])
        dropped = int(self._git("rev-list", "--count", f"{new}..{old}")[1])
        form = "--format=%H%x1f%cI%x1f%s%x1e"
        out = self._git("log", "--no-show-signature", f"--max-count={limit}", form, f"{old}..{new}")[1]
        rows = [entry.strip("\n").split("\x1f", 2) for entry in out.split("\x1e") if entry.strip("\n")]
        commits = tuple(Commit(commit, time, _plain(subject)) for commit, time, subject in rows)
        return Notes(count, commits, dropped)

    def refuse_loss(self, target: Target) -> None:
        """Refuse a move after which commits that were made here would be on no branch.

        Raises:
            Refused: naming how many and the newest.
        """
        if target.branch is not None:
            if self.resolve(f"refs/heads/{target.branch}") is None:
                return
            lost = [f"refs/heads/{target.branch}", "--not", str(target.commit)]
        elif self.head().branch is None:
            lost = ["HEAD", "--not", "--branches", "--tags", "--remotes", str(target.commit)]
        else:
            return
        count = int(self._git("rev-list", "--count", *lost)[1])
        if count:
            newest = _plain(self._git("log", "--no-show-signature", "-1", "--format=%h %s", *lost)[1].strip())
            raise Refused(
                f"{self.place.directory} holds commits that {target} at {self.remote} does not: {count}, "
                f"the newest is {newest}.",
                stage="preflight",
                hint="Push them or move them to another branch; where the remote's history was rewritten, install a "
                "commit by its name (version).",
            )

    def move(self, head: Head, *, stage: str, force: bool = False) -> None:
        """Check out a commit, on a branch or detached.

        Args:
            force: files that were changed or lie in the way are given up.

        Raises:
            ToolFailed: git could not; without `force` nothing was changed then.
        """
        how = ["-B", head.branch, head.commit] if head.branch else ["--detach", head.commit]
        # What is ignored is not git's to overwrite: the secrets of the application, or what its users have uploaded.
        care = "--force" if force else "--no-overwrite-ignore"
        self._git("checkout", "--quiet", care, *how, "--", stage=stage)

    def put_branch(self, branch: str, commit: str | None, *, stage: str) -> None:
        """Let a branch that is not checked out be at a commit again, or be no more (None)."""
        if commit is None and self.resolve(f"refs/heads/{branch}") is None:  # it has not come to be, or is gone already
            return
        how = ["--force", "--no-track", branch, commit] if commit else ["-D", branch]
        self._git("branch", "--quiet", *how, stage=stage)

    def set_aside(self, target: str, why: str) -> bool:
        """Make it as its commit is, and keep as a stash what was changed; whether there was anything.

        What `target` would add goes too where it lies about: a checkout that was killed has written some of it.

        Raises:
            ToolFailed: git could not.
        """
        who = ["-c", "user.name=holdfast", "-c", "user.email=holdfast@localhost"]
        commit = self._git(*who, "stash", "create", why, stage="repair")[1].strip()
        if commit:
            self._git(*who, "stash", "store", "--message", why, commit, stage="repair")
            self.move(self.head(), stage="repair", force=True)
        new = self._git("diff", "--name-only", "-z", "--no-renames", "--diff-filter=A", "HEAD", target)[1].split("\0")
        lying = self._git("ls-files", "--others", "--exclude-standard", "-z", stage="repair")[1].split("\0")
        paths = sorted({*new} & {*lying} - {""})
        if paths:
            with _in_memory("\0".join(paths)) as descriptor:
                options = ["--include-untracked", "--quiet", "--message", why, "--pathspec-file-nul"]
                self._git(
                    *("--literal-pathspecs", *who, "stash", "push", *options),
                    f"--pathspec-from-file=/proc/self/fd/{descriptor}",
                    stage="repair",
                    pass_fds=[descriptor],
                )
        return bool(commit or paths)

    def unlock(self) -> None:
        """Remove the lock files that a git which was killed has left; only where nobody else is at work."""
        for name in ("index.lock", "HEAD.lock"):
            path = self._git("rev-parse", "--git-path", name)[1].strip()
            if os.path.lexists(os.path.join(self.place.directory, path)):
                self.place.run(["/bin/rm", "-f", "--", path], timeout=LOCAL_TIMEOUT, stage="repair")


_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_ASKPASS": "/bin/false"}


@contextlib.contextmanager
def _in_memory(text: str) -> Iterator[int]:
    """A descriptor from which a child can read a text."""
    descriptor = os.memfd_create("paths")
    try:
        os.write(descriptor, os.fsencode(text))
        yield descriptor
    finally:
        os.close(descriptor)


def _plain(subject: str) -> str:
    """A line that anybody may have written, as text and no longer than a line."""
    text = "".join(letter if letter.isprintable() else " " for letter in subject)
    return text if len(text) <= _SUBJECT else f"{text[: _SUBJECT - 3]}..."
