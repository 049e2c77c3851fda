"""A WSGI application of .venv-openstack as a process on loopback: started, stopped, away, and back at its address."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import urllib3
from waiting import wait_until

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE.parents[1] / ".venv-openstack"
# Multiplied by ten for emulated machines, as in serving.py.
START_SECONDS = 60 * float(os.environ.get("NBDSVC_TEST_PATIENCE", "1"))
COMMAND_SECONDS = 4 * START_SECONDS


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class WsgiServer:
    """module: has the `application`; variables: of its process; folder: of its files, removed by `end`."""

    def __init__(self, folder: Path, module: str, variables: dict[str, str]) -> None:
        assert (ENVIRONMENT / ".ready").exists(), (
            "Keystone and Glance are not installed: .ci/bootstrap --level openstack"
        )
        self.folder = folder
        self.log = folder / "log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._module = module
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers; at the address that it had before."""
        self._process = self._begin([str(HERE / "wsgi_runner.py"), self._module, str(self.port)])
        wait_until(self._answers, START_SECONDS, self.tail)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after seconds. Connections to it are refused from then on."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def end(self) -> None:
        """Stop it, and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pause(self) -> None:
        """It takes connections (its kernel does) and replies nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def run(self, *arguments: str, **variables: str) -> None:
        """A program of its environment, to its end. AssertionError with the end of its log where it fails."""
        process = self._begin([str(ENVIRONMENT / "bin" / arguments[0]), *arguments[1:]], variables)
        try:
            assert process.wait(COMMAND_SECONDS) == 0, self.tail()
        finally:
            process.kill()
            process.wait()

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def _begin(self, arguments: list[str], variables: dict[str, str] | None = None) -> "subprocess.Popen[bytes]":
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("OS_", "PYTHON", "NBDSVC_"))
        }
        environment = {**inherited, **self._variables, **(variables or {})}
        argv = [str(ENVIRONMENT / "bin/python"), *arguments]
        with self.log.open("ab") as output:
            return subprocess.Popen(
                argv, env=environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def _answers(self) -> bool:
        assert self._process and self._process.poll() is None, self.tail()
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            return urllib3.request("GET", self.url, timeout=5, retries=False).status < 500
        return False
