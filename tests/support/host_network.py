"""Network namespaces of several hosts, joined by a bridge in a namespace of its own: nothing of it is in the machine's."""

import itertools
import os
import subprocess

_numbers = itertools.count()
PREFIX = "10.77.0."


class HostNetwork:
    """`run_in(host)` is what a program of that host is started by; `address(host)` is where the others reach it."""

    def __init__(self, hosts: tuple[str, ...]) -> None:
        self._name = f"nbt{os.getpid()}-{next(_numbers)}"
        self._hosts = hosts
        self._made: list[str] = []
        self._add(self._name)
        self._in(self._name, "link", "add", "bridge", "type", "bridge")
        self._in(self._name, "link", "set", "bridge", "up")
        for number, host in enumerate(hosts):
            self._join(host, f"port{number}")

    def run_in(self, host: str) -> tuple[str, ...]:
        return "ip", "netns", "exec", self._namespace(host)

    def address(self, host: str) -> str:
        return f"{PREFIX}{self._hosts.index(host) + 1}"

    def remove(self) -> None:
        for name in self._made:
            subprocess.run(["ip", "netns", "del", name], check=False)

    def _namespace(self, host: str) -> str:
        return f"{self._name}-{host}"

    def _join(self, host: str, port: str) -> None:
        namespace = self._namespace(host)
        self._add(namespace)
        self._in(namespace, "link", "add", "net", "type", "veth", "peer", "name", port, "netns", self._name)
        self._in(namespace, "address", "add", f"{self.address(host)}/24", "dev", "net")
        self._in(self._name, "link", "set", port, "master", "bridge", "up")
        self._in(namespace, "link", "set", "net", "up")

    def _add(self, name: str) -> None:
        subprocess.run(["ip", "netns", "add", name], check=True)
        self._made.append(name)
        self._in(name, "link", "set", "lo", "up")

    def _in(self, namespace: str, *arguments: str) -> None:
        subprocess.run(["ip", "-n", namespace, *arguments], check=True)
