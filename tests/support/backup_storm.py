"""A service that makes, restores, verifies, deletes and frees backups while it and its store are killed."""

import random
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from rados_gateway import RadosGateway
from serving import UNFINISHED, ServiceProcess

from nbdsvc import errors
from nbdsvc.backup_store.contract import BackupStore
from nbdsvc.backup_store.folder import FolderStore
from nbdsvc.backup_store.keys import space_of
from nbdsvc.backup_store.manifest import CHUNK
from nbdsvc.backup_store.reading import Reader
from nbdsvc.backup_store.space import Space, spaces_of
from nbdsvc.backup_store.vault import Vault

# Chunks of the volume that have data; a backup finds some of them in the store.
_CHUNKS = 4
_SECONDS = 60
# The longest time from a request to a kill: most operations take less here.
_LONGEST = 0.4
_KEPT = 4


class BackupStorm:
    """gateway, bucket: of a store in S3, which is killed, too; None: a folder of the service's own."""

    def __init__(
        self, service: ServiceProcess, seed: int, gateway: RadosGateway | None = None, bucket: str = ""
    ) -> None:
        self.service, self.gateway = service, gateway
        self._numbers = random.Random(seed)
        self._vault = Vault(_store(service, gateway, bucket))
        self._contents: dict[str, list[bytes]] = {}
        """Backup -> what the chunks of the volume were when it was begun."""
        self._restores: dict[str, str] = {}
        """New volume -> the backup that it was made of."""
        self._now = [b"%d" % index for index in range(_CHUNKS)]
        self.killed = {"service": 0, "store": 0, "both": 0}
        self.done: dict[str, int] = {}
        self.hit = 0
        """Kills in the middle of an operation."""
        made = self._client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
        assert service.wait_status("volumes", made) == "available"
        self._volume = str(made)
        for index in range(_CHUNKS):
            self._write(index)

    def __str__(self) -> str:
        kills = ", ".join(f"{count} of the {name}" for name, count in self.killed.items() if count)
        return f"{kills}, {self.hit} of them in operations; " + ", ".join(
            f"{count} {name}" for name, count in sorted(self.done.items())
        )

    @property
    def _client(self) -> Any:
        return self.service.client()

    def strike(self) -> None:
        """Begin something or two, kill at any moment, start again, and look at what there is when all have ended."""
        for _ in range(self._numbers.randint(1, 3)):
            self._begin()
        time.sleep(self._numbers.random() ** 2 * _LONGEST)
        what = self._numbers.choice(["service", "service", "store", "both"] if self.gateway else ["service"])
        if what != "store":
            self.service.kill()
        if what != "service" and self.gateway:
            self.gateway.kill()
            self.gateway.start()
        self.killed[what] += 1
        self.hit += self._unfinished() > 0
        if what != "store":
            self.service.start()
        self.service.settle()
        self.check()

    def check(self) -> None:
        """No backup lies: each that is available has every byte; so has each volume that was made of one."""
        backups = {row["id"]: row["status"] for row in self._client.get("backups", "detail")["backups"]}
        assert set(backups.values()) <= {"available", "error", "error_deleting"}, backups
        space = self._space()
        for id, status in backups.items():
            if status == "available":
                assert self._stored(space, id) == self._contents[id], id
        for row in self._client.get("volumes", "detail")["volumes"]:
            if row["id"] == self._volume:
                assert row["status"] == "available", row
            elif row["status"] == "available" and row["id"] in self._restores:
                assert self._read(row["id"]) == self._contents[self._restores[row["id"]]], row["id"]
            else:
                assert row["status"] == "error", row
        self._forget(backups)

    def end(self) -> None:
        """Delete what failed, free what is not needed: then the store has the chunks of its backups, and nothing else."""
        for row in self._client.get("backups", "detail")["backups"]:
            if row["status"] != "available":
                self._client.post("backups", row["id"], "action", body={"os-force_delete": {}})
                assert self.service.wait_status("backups", row["id"]) == "gone"
        whole = {row["id"] for row in self._client.get("backups", "detail")["backups"]}
        freed = self._client.post("backups", "collect", body={"end_sessions": []})["collected"]
        assert (freed["waiting"], freed["faults"]) == ([], [])
        for name in spaces_of(self._vault.store):
            space = self._vault.space(name)
            manifests = set(self._vault.store.names(f"{space.root}/manifests"))
            assert manifests == whole, manifests ^ whole
            assert set(space.chunks()) == space.needed()
            assert (space.sessions(), space.trash()) == (set(), [])
        assert self.service.leftovers() == []

    def _begin(self) -> None:
        known = [row["id"] for row in self._client.get("backups", status="available")["backups"]]
        few = ["backup", "backup", "increment", "restore"]
        kind = self._numbers.choice(few if len(known) < _KEPT else [*few, "restore", "delete", "collect", "verify"])
        with suppress(errors.Error):  # a status forbids it, or there is none to build on
            self._request(kind, known)
            self.done[kind] = self.done.get(kind, 0) + 1

    def _request(self, kind: str, known: list[str]) -> None:
        if kind in ("backup", "increment"):
            row = self._client.get("volumes", self._volume)["volume"]
            if row["status"] == "available":
                self._write(self._numbers.randrange(_CHUNKS))
            content = list(self._now)
            body = {"backup": {"volume_id": self._volume, "incremental": kind == "increment"}}
            self._contents[self._client.post("backups", body=body)["backup"]["id"]] = content
        elif kind == "collect":
            self._collect()
        elif known:
            backup = self._numbers.choice(known)
            if kind == "restore":
                made = self._client.post("backups", backup, "restore", body={"restore": {}})["restore"]
                self._restores[made["volume_id"]] = backup
            elif kind == "verify":
                self._client.act("backups", backup, "nbdsvc-verify")
            else:
                self._client.act("backups", backup, "os-force_delete", {})

    def _unfinished(self) -> int:
        """Operations that had not ended at the kill, by the database itself."""
        connection = sqlite3.connect(f"file:{self.service.state / 'nbdsvc.db'}?mode=ro", uri=True, timeout=_SECONDS)
        try:
            states = "', '".join(UNFINISHED)
            return int(connection.execute(f"SELECT COUNT(*) FROM operations WHERE state IN ('{states}')").fetchone()[0])
        finally:
            connection.close()

    def _collect(self) -> None:
        self._client.post("backups", "collect", body={"end_sessions": []})

    def _forget(self, backups: dict[str, str]) -> None:
        """Keep the numbers small."""
        for row in self._client.get("volumes")["volumes"]:
            if row["id"] != self._volume:
                self._client.delete("volumes", row["id"])
        for id in list(backups)[_KEPT:]:
            with suppress(errors.InvalidState):
                self._client.act("backups", id, "os-force_delete", {})

    def _write(self, index: int) -> None:
        """Only while nothing reads the volume: its backups must be of one moment."""
        content = b"%d %020d" % (index, self._numbers.getrandbits(64))
        self._now[index] = content
        with self._path(self._volume).open("r+b") as file:
            file.seek(index * CHUNK)
            file.write(content)

    def _path(self, volume: str) -> Path:
        return self.service.backend.volume(self.service.state, volume)

    def _read(self, volume: str) -> list[bytes]:
        with self._path(volume).open("rb") as file:
            found = []
            for index in range(_CHUNKS):
                file.seek(index * CHUNK)
                found.append(file.read(CHUNK).rstrip(b"\0"))
        return found

    def _space(self) -> Space:
        return self._vault.space(space_of("p1"))

    def _stored(self, space: Space, id: str) -> list[bytes]:
        manifest = space.get_manifest(id)
        reader = Reader(space, manifest)
        assert all(each is None for each in manifest.chunks[_CHUNKS:])
        return [bytes(reader.chunk(index)).rstrip(b"\0") for index in range(_CHUNKS)]


def _store(service: ServiceProcess, gateway: RadosGateway | None, bucket: str) -> BackupStore:
    folder = service.state.parent / "watcher"
    if gateway is None:
        return FolderStore(service.state / "backups", folder / "note.json")
    return gateway.store(folder, bucket, "storm")
