"""Writes to three disks of two initiators in an order, and the question whether snapshots of them are of one moment.

A write goes to the next disk only when the one before was acknowledged. So of snapshots of one moment the newest write of
all, n, is in one, n-1 in the next and n-2 in the third: anything else is of several moments.
"""

from collections.abc import Sequence

from rig.agent import Agent

PORT = 7199
_BLOCK = """
import mmap, os, socket, sys, time
block = mmap.mmap(-1, 4096)
def write(fd, number):
    block[:8] = number.to_bytes(8, "big")
    os.pwritev(fd, [block], 0)
def opened(path):
    return os.open(path, os.O_RDWR | os.O_DIRECT)
"""
# Writes what comes by the network, and answers when it is on the disk.
_SECOND = (
    _BLOCK
    + """
fd = opened(sys.argv[1])
listening = socket.create_server(("", int(sys.argv[2])))
sock, _ = listening.accept()
while number := sock.recv(8, socket.MSG_WAITALL):
    write(fd, int.from_bytes(number, "big"))
    sock.sendall(number)
"""
)
# Writes 1, 2, 3 ... in turn to two disks of its own and to that of the second host; notes the last one that was acknowledged,
# and the ms that the longest one took.
_FIRST = (
    _BLOCK
    + """
fds, number, worst = [opened(path) for path in sys.argv[1:3]], 0, 0
sock = socket.create_connection((sys.argv[3], int(sys.argv[4])), timeout=60)
sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
note = os.open("/tmp/written", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
while True:
    number, began = number + 1, time.monotonic()
    if number % 3:
        write(fds[number % 3 - 1], number)
    else:
        sock.sendall(number.to_bytes(8, "big"))
        assert sock.recv(8, socket.MSG_WAITALL) == number.to_bytes(8, "big")
    worst = max(worst, int((time.monotonic() - began) * 1000))
    os.pwrite(note, number.to_bytes(8, "big") + worst.to_bytes(8, "big"), 0)
"""
)
_WRITTEN = """
def main():
    with open("/tmp/written", "rb") as file:
        return [int.from_bytes(file.read(8), "big") for _ in range(2)]
"""
_READ = """
import mmap, os
def main(paths):
    found = []
    for path in paths:
        fd, block = os.open(path, os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, 4096)
        os.preadv(fd, [block], 0)
        os.close(fd)
        found.append(int.from_bytes(block[:8], "big"))
    return found
"""


class OrderedWrites:
    """The writers: `disks` of the first host, and one of the second. They go on until `stop`."""

    def __init__(self, first: Agent, disks: Sequence[str], second: Agent, disk: str) -> None:
        """Start. HostFailed where a disk cannot be written."""
        self._first, self._second = first, second
        first.shell("rm -f /tmp/written")
        self._pids = [
            (second, second.start("python3", "-c", _SECOND, disk, str(PORT), log="/tmp/second.log")),
        ]
        second.shell(f"for i in $(seq 300); do ss -ltn | grep -q :{PORT} && exit; sleep 0.1; done; exit 1")
        argv = ["python3", "-c", _FIRST, *disks, second.host.address, str(PORT)]
        self._pids.append((first, first.start(*argv, log="/tmp/first.log")))
        self.go_on()

    def written(self) -> int:
        """The newest write that was acknowledged; 0 before the first."""
        if self._first.shell("[ -s /tmp/written ] && echo yes || true").strip() != "yes":
            return 0
        return int(self._first.python(_WRITTEN)[0])

    def worst(self) -> int:
        """Milliseconds of the longest write."""
        return int(self._first.python(_WRITTEN)[1])

    def go_on(self, more: int = 20) -> None:
        """Wait for so many more writes. AssertionError, with what the writers said, after a minute."""
        wanted = self.written() + more
        for _ in range(300):
            if self.written() > wanted:
                return
        raise AssertionError("the writers do not go on: " + self.words())

    def words(self) -> str:
        """What the writers printed: why they ended."""
        return " ".join(
            agent.shell("cat /tmp/first.log /tmp/second.log 2> /dev/null || true") for agent, _ in self._pids
        )

    def stop(self) -> None:
        """Kill the first writer; the second one ends with its connection. AssertionError where the first has ended before."""
        (second, of_second), (first, of_first) = self._pids
        alive = first.shell(f"kill -KILL {of_first} && echo yes || true").strip() == "yes"
        for agent, pid in ((first, of_first), (second, of_second)):
            agent.shell(f"for i in $(seq 300); do [ -e /proc/{pid} ] || exit 0; sleep 0.1; done; exit 1", check=False)
        assert alive, self.words()


def numbers_in(agent: Agent, paths: Sequence[str]) -> list[int]:
    """The newest write in each of these devices. HostFailed for one that cannot be read."""
    return [int(each) for each in agent.python(_READ, paths=list(paths))]


def of_one_moment(numbers: Sequence[int]) -> bool:
    """Whether these are the newest writes of one moment."""
    return sorted(numbers) == list(range(max(numbers) - len(numbers) + 1, max(numbers) + 1))
