"""Clients that change a volume while it is mirrored, and know what every acknowledged change made of it."""

import os
import random
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nbd
from exporting import SIZE, Exports
from waiting import wait_until

from nbdsvc.exporter import ExportSpec
from nbdsvc.units import MiB

WRITERS, COMMON = 3, 6
# Each writer has a stripe of its own, whose content it knows; the last stripe is everybody's, and overlaps are wanted there.
STRIPE = 8 * MiB


class Writer(threading.Thread):
    """Changes its stripe, and the common one, at random until `stop`. content: of its stripe, as acknowledged."""

    def __init__(self, uri: str, index: int, common: int, seed: int) -> None:
        super().__init__(daemon=True)
        self._client = nbd.NBD()
        self._client.connect_uri(uri)
        self._start, self._common = index * STRIPE, common * STRIPE
        self._random = random.Random(seed * 100 + index)
        self.content = bytearray(self._client.pread(STRIPE, self._start))
        self.changes, self.worst, self.error = 0, 0.0, ""
        self._stopped, self._go = threading.Event(), threading.Event()
        self._go.set()

    def run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._go.wait(30)
                began = time.monotonic()
                self._change()
                self.worst = max(self.worst, time.monotonic() - began)
                self.changes += 1
        except nbd.Error as error:
            self.error = str(error)

    def stop(self) -> None:
        """Returns when its last change is acknowledged."""
        self._stopped.set()
        self._go.set()
        self.join(30)
        assert not self.is_alive() and not self.error, self.error

    def pause(self) -> None:
        self._go.clear()

    def go_on(self) -> None:
        self._go.set()

    def _change(self) -> None:
        length = self._random.choice((1, 512, 4096, 5000, 65536, 300_000))
        at = self._random.randrange(STRIPE - length)
        kind = self._random.choice(("write", "write", "write", "zero", "trim", "flush", "common"))
        if kind == "flush":
            self._client.flush()
        elif kind == "common":
            self._client.pwrite(self._random.randbytes(length), self._common + at)
        else:
            self._change_own(kind, at, length)

    def _change_own(self, kind: str, at: int, length: int) -> None:
        content = self._random.randbytes(length) if kind == "write" else bytes(length)
        fua = self._random.choice((0, 0, 0, nbd.CMD_FLAG_FUA))
        if kind == "write":
            self._client.pwrite(content, self._start + at, fua)
        elif kind == "zero":
            self._client.zero(length, self._start + at, fua)
        else:
            self._client.trim(length, self._start + at, fua)
        self.content[at : at + length] = content

    def is_in(self, read: Callable[[int, int], bytes]) -> bool:
        """Whether `read`, of a length from an offset, returns what this writer has written."""
        return read(STRIPE, self._start) == bytes(self.content)


@contextmanager
def filled_exports(seed: int) -> Iterator[Exports]:
    """Exports of a volume that is allocated in part; they are removed at the end."""
    made = Exports(Path(tempfile.mkdtemp(prefix="nb-", dir="/var/tmp")))
    filled = random.Random(seed).randbytes(MiB)
    with made.path.open("r+b") as file:
        for offset in range(0, SIZE, 4 * MiB):
            file.seek(offset)
            file.write(filled)
    yield made
    for id in made.exporter.inventory().exports:
        made.exporter.remove(id)
    subprocess.run(["rm", "-rf", str(made.folder)], check=True)


def destination(exports: Exports, name: str = "destination", size: int = SIZE, fill: bytes = b"") -> Path:
    path = exports.folder / name
    path.write_bytes(fill)
    os.truncate(path, size)
    return path


def writers(uri: str, seed: int = 1) -> list[Writer]:
    made = [Writer(uri, index, COMMON, seed) for index in range(WRITERS)]
    for writer in made:
        writer.start()
    return made


def await_state(exports: Exports, spec: ExportSpec, wanted: str) -> None:
    wait_until(lambda: exports.exporter.mirror_state(spec.id).state == wanted, 30)


def content(path: Path) -> bytes:
    return path.read_bytes()


def written(path: Path, writer: Writer) -> bool:
    whole = content(path)
    return writer.is_in(lambda length, offset: whole[offset : offset + length])
