"""The host's side of rig/guest/agentd.py: commands on a host at 2 ms each, where a new ssh would cost 140 ms."""

import base64
import itertools
import json
import subprocess
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rig.fleet import Host
from rig.log import log

_SOURCE = (Path(__file__).parent / "guest" / "agentd.py").read_text()
SSH = ["ssh", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
        "-o", "ConnectTimeout=5", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]  # fmt: skip
_BOOT = "import sys, json; exec(json.loads(sys.stdin.readline()))"
# Seconds. A machine under emulation that boots beside others answers within a minute.
CONNECT_SECONDS = 240


class HostFailed(Exception):
    """A command on a host failed, or the host cannot be reached."""


@dataclass(frozen=True)
class Done:
    """The output of a command, and its exit status."""

    rc: int
    out: str
    err: str


class Agent:
    """A connection to one host. Calls may come from several threads. HostFailed where the connection breaks."""

    def __init__(self, host: Host, seconds: float = CONNECT_SECONDS) -> None:
        self.host = host
        self._ids = itertools.count()
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._connect_within(seconds)

    def reconnect(self, seconds: float = CONNECT_SECONDS) -> None:
        """Connect again after the host was switched off and on. HostFailed after `seconds`."""
        self.close()
        self._connect_within(seconds)

    def _connect_within(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            try:
                self._connect()
                return
            except HostFailed:
                if time.monotonic() > end:
                    raise
                time.sleep(1)

    def run(self, *argv: str, timeout: float = 60, check: bool = True, given: str = "", **env: str) -> Done:
        """Run a command for at most `timeout` seconds.

        HostFailed where it fails (unless `check` is False) or does not end.
        """
        answer = self._ask({"do": "run", "argv": argv, "timeout": timeout, "input": given, "env": env}, timeout + 10)
        done = Done(answer["rc"], answer["out"], answer["err"])
        if check and done.rc:
            raise HostFailed(f"{self.host.name}: {' '.join(argv)[:200]}: {done.rc}: {(done.err or done.out)[-2000:]}")
        return done

    def shell(self, script: str, timeout: float = 60, check: bool = True) -> str:
        """Run a script of sh; see `run`."""
        return self.run("sh", "-ec", script, timeout=timeout, check=check).out

    def start(self, *argv: str, log: str, **env: str) -> int:
        """Start a process that outlives this call and this connection; its pid. HostFailed where it cannot be started."""
        return int(self._ask({"do": "start", "argv": argv, "log": log, "env": env}, 30)["pid"])

    def put(self, path: str, content: bytes) -> None:
        """Write a file on the host. HostFailed where it cannot be written."""
        self._ask({"do": "put", "path": path, "content": base64.b64encode(content).decode()}, 60)

    def python(self, source: str, timeout: float = 120, **args: Any) -> Any:
        """The result of `main(**args)` of this source, run on the host.

        HostFailed where it raises or takes over `timeout` seconds.
        """
        return self._ask({"do": "python", "source": source, "args": args}, timeout)["result"]

    def close(self) -> None:
        """End the connection."""
        self._ssh.kill()
        self._ssh.wait()

    def _connect(self) -> None:
        key = ["-i", self.host.key] if self.host.key else []
        argv = [*SSH, "-T", *key, f"root@{self.host.address}", f"exec python3 -u -c '{_BOOT}'"]
        self._ssh = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._read, args=(self._ssh,), daemon=True).start()
        try:
            assert self._ssh.stdin
            self._ssh.stdin.write(json.dumps(_SOURCE) + "\n")
            self._ask({"do": "ping"}, 15)
        except (BrokenPipeError, HostFailed) as error:
            self.close()
            raise HostFailed(f"{self.host.name} is not to be reached: {error}") from error

    def _ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        future: Future[dict[str, Any]] = Future()
        with self._lock:
            id = next(self._ids)
            self._waiting[id] = future
            assert self._ssh.stdin
            try:
                self._ssh.stdin.write(json.dumps({"id": id, **request}) + "\n")
                self._ssh.stdin.flush()
            except (BrokenPipeError, ValueError) as error:
                raise HostFailed(f"{self.host.name}: the connection is gone") from error
        try:
            answer = future.result(seconds)
        except TimeoutError:
            raise HostFailed(f"{self.host.name}: no answer within {seconds} s to {str(request)[:200]}") from None
        if "error" in answer:
            raise HostFailed(f"{self.host.name}: {answer['error']}")
        return answer

    def _read(self, ssh: "subprocess.Popen[str]") -> None:
        assert ssh.stdout and ssh.stderr
        for line in ssh.stdout:
            answer = json.loads(line)
            with self._lock:
                future = self._waiting.pop(answer["id"], None)
            if future:
                future.set_result(answer)
        reason = ssh.stderr.read().strip()[-300:] or "it ended"
        with self._lock:
            left, self._waiting = self._waiting, {}
        for future in left.values():
            future.set_result({"error": f"connection lost: {reason}"})


def connect_all(hosts: list[Host]) -> dict[str, Agent]:
    """Agents of all hosts, connected at the same time. HostFailed where one cannot be reached."""
    made: dict[str, Agent] = {}
    threads = [threading.Thread(target=lambda host=host: made.setdefault(host.name, Agent(host))) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    missing = [host.name for host in hosts if host.name not in made]
    if missing:
        raise HostFailed(f"not to be reached: {', '.join(missing)}")
    log(f"agents run on {', '.join(made)}")
    return made
