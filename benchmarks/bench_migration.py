"""Migration of 1 GiB between two hosts of this machine, and nbdcopy into the same kind of export of the same folder, in turn.

Both send bytes that do not compress over TLS with a pre-shared key, into a new file, and end when it is flushed. Rounds: the
argument. NBDSVC_BENCH_FOLDER: where both hosts' folders are, /var/tmp else.
"""

import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from measure import save, shown, spread

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from between import Between
from postgres import Postgres
from serving import ServiceProcess

from nbdsvc.exporter import Access, ExportSpec
from nbdsvc.exports.nbd.exporter import NbdExporter
from nbdsvc.location import Location
from nbdsvc.model import names

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
SIZE = 1 << 30
MB = 1_000_000
# Least ratio of our copy's rate to nbdcopy's.
GOAL = 0.9
# By a query of the database: a look by the API costs two processes 7 ms, which both cores of a small machine lack for the copy.
LOOK_SECONDS = 0.01
KEY = "2b" * 32


class Pair:
    """Both hosts and their exporter's twin, which is started as the service starts its own."""

    def __init__(self, folder: Path, database: str) -> None:
        self._folder = folder
        self._made: list[ServiceProcess] = []
        self.between = Between(self._make, database)
        self._database = psycopg.connect(database, autocommit=True)
        self._exporter = NbdExporter(folder / "e", "bench", "127.0.0.1", (12810, 12899))
        (folder / "psk").touch(0o600)

    def _make(self, name: str, *, start: bool, **given: Any) -> ServiceProcess:
        assert not start
        made = ServiceProcess(self._folder / name, **given)
        self._made.append(made)
        return made

    def stop(self) -> None:
        for each in self._made:
            each.stop()
            each.end_exports()

    def volume(self) -> str:
        """A volume of host a, full of bytes that are in the page cache."""
        client = self.between.client
        made = str(client.post("volumes", body={"volume": {"size": 1, "volume_type": "a"}})["volume"]["id"])
        assert self.between.api.wait_status("volumes", made) == "available"
        with self.between.path("a", made).open("r+b") as file:
            for _ in range(SIZE >> 24):
                file.write(os.urandom(1 << 24))
            os.fsync(file.fileno())
        client.act("volumes", made, "os-retype", {"new_type": "__DEFAULT__"})
        return made

    def migrate(self, id: str) -> tuple[float, float]:
        """Seconds for which the operation is at the source's host for its copy, and of the whole operation."""
        self.between.migrate(id)
        begun = ended = 0.0
        while True:
            state, place = self._look(id)
            now = time.monotonic()
            if place == "a" and not begun and state == "running":
                begun = now
            if begun and not ended and place != "a":
                ended = now
            if state not in ("pending", "running"):
                break
            time.sleep(LOOK_SECONDS)
        shown = self.between.operation()
        assert shown["state"] == "succeeded", shown
        whole = datetime.fromisoformat(shown["finished_at"]) - datetime.fromisoformat(shown["started_at"])
        return ended - begun, whole.total_seconds()

    def _look(self, volume_id: str) -> tuple[str, str]:
        """State and place of the volume's newest operation."""
        query = "SELECT state, step_host FROM operations WHERE resource_id = %s ORDER BY sequence DESC LIMIT 1"
        found = self._database.execute(query, [volume_id]).fetchone()
        assert found
        return found[0], found[1]

    def nbdcopy(self, source: Path) -> float:
        """Seconds of nbdcopy alone, into an export that is up already."""
        id = names.new_id()
        target = self.between.b.state / "pool" / "volumes" / "bench"
        with target.open("wb") as file:
            file.truncate(SIZE)
        spec = ExportSpec(id, "v", Location.file(target), Access(network=True, needs_secret=True), secret=KEY)
        uri = self._exporter.ensure(spec).data["uri"]
        (self._folder / "psk").write_text(f"{id}:{KEY}\n")
        begun = time.monotonic()
        command = ["nbdcopy", "--destination-is-zero", "--flush", str(source), f"{uri}?tls-psk-file={self._folder}/psk"]
        subprocess.run(command, check=True)
        seconds = time.monotonic() - begun
        self._exporter.remove(id)
        assert subprocess.run(["cmp", str(source), str(target)]).returncode == 0
        target.unlink()
        return seconds


def main() -> None:
    postgres = Postgres()
    with tempfile.TemporaryDirectory(prefix="nb-", dir=os.environ.get("NBDSVC_BENCH_FOLDER", "/var/tmp")) as folder:
        pair = Pair(Path(folder), postgres.database())
        try:
            rounds = [_round(pair, number) for number in range(ROUNDS)]
        finally:
            pair.stop()
            postgres.stop()
    ratios = spread([peer / copy for copy, _, peer in rounds])
    table = {
        "ours": spread([SIZE / MB / copy for copy, _, _ in rounds]),
        "ours, from the request to its end": spread([SIZE / MB / whole for _, whole, _ in rounds]),
        "nbdcopy": spread([SIZE / MB / peer for _, _, peer in rounds]),
    }
    for name, rate in table.items():
        print(f"{name}: {shown(rate, 0)} MB/s")
    print(f"ratio of ours to nbdcopy: {shown(ratios)} (goal {GOAL}){'' if ratios['median'] >= GOAL else '  MISSED'}")
    save("migration", {"table": table, "ratio": ratios, "rounds": ROUNDS})


def _round(pair: Pair, number: int) -> tuple[float, float, float]:
    """Which of both comes first changes from round to round."""
    id = pair.volume()
    source = pair.between.path("a", id)
    peer = pair.nbdcopy(source) if number % 2 else 0.0
    kept = source.with_name("bench-source")
    os.link(source, kept)
    copy, whole = pair.migrate(id)
    peer = peer or pair.nbdcopy(kept)
    assert subprocess.run(["cmp", str(kept), str(pair.between.path("b", id))]).returncode == 0
    kept.unlink()
    pair.between.remove(id)
    print(f"round {number + 1}: ours {copy:.2f} s (whole {whole:.2f} s), nbdcopy {peer:.2f} s", flush=True)
    return copy, whole, peer


if __name__ == "__main__":
    main()
