"""Random kills under load."""

import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from serving import ServiceProcess
from waiting import wait_until

from nbdsvc import errors

KILLS = 100
LOCAL = {"host": "me", "ip": "127.0.0.1"}
SETTLED = frozenset("available in-use reserved attaching error error_deleting error_extending error_attaching".split())


# What the client says of a reply that is none of the API's, or of one that blames the service itself.
WRONG = ("Internal error", "as the API never does", "not the JSON of the API", "its answer has no")


def _load(service: ServiceProcess, ended: threading.Event, seed: int, wrong: list[str]) -> None:
    """One client that creates, clones, snapshots, attaches, extends and deletes. It goes on after a refusal and while the
    service is down, and keeps every answer that is wrong."""
    dice = random.Random(seed)
    while not ended.is_set():
        client = service.client()
        client_calls: list[Callable[[], Any]] = [
            lambda: client.post("volumes", body={"volume": {"size": 1, "imageRef": "base.raw"}}),
            lambda: client.post("volumes", body={"volume": {"source_volid": pick(), "size": 2}}),
            lambda: client.post("snapshots", body={"snapshot": {"volume_id": pick()}}),
            lambda: client.post("attachments", body={"attachment": {"volume_uuid": pick(), "connector": LOCAL}}),
            lambda: client.delete("attachments", pick("attachments")),
            lambda: client.act("volumes", pick(), "os-extend", {"new_size": dice.randint(2, 5)}),
            lambda: client.delete("volumes", pick(), cascade=True),
            lambda: client.delete("volumes", pick(), cascade=True),
        ]

        def pick(noun: str = "volumes", client: Any = client) -> str:
            rows = client.get(noun)[noun]
            return str(dice.choice(rows)["id"]) if rows else "none"

        try:
            dice.choice(client_calls)()
        except (errors.Error, OSError) as error:
            wrong += [str(error)] if any(words in str(error) for words in WRONG) else []
            time.sleep(0.05)
        except Exception as error:
            wrong.append(repr(error))


@pytest.mark.timeout(900)
@pytest.mark.row("S021", "S053")
@pytest.mark.parametrize("kind_of_database", ["sqlite", "postgresql"])
def test_random_kills_under_load(
    make_service: Callable[..., ServiceProcess], request: pytest.FixtureRequest, kind_of_database: str
) -> None:
    """Every answer in a storm of SIGKILLs is one of the API; after it rows are settled, nothing is left, copies are whole."""
    given = {"database": request.getfixturevalue("postgres").database()} if kind_of_database == "postgresql" else {}
    service = make_service(**given)
    content = os.urandom(24 << 20)
    (service.state / "images" / "base.raw").write_bytes(content)
    ended, dice, wrong = threading.Event(), random.Random(7), list[str]()
    clients = [threading.Thread(target=_load, args=(service, ended, seed, wrong)) for seed in range(3)]
    for thread in clients:
        thread.start()
    try:
        for _ in range(KILLS):
            time.sleep(dice.uniform(0.05, 0.6))
            service.kill()
            service.start()
    finally:
        ended.set()
        for thread in clients:
            thread.join()
    assert wrong == []
    service.settle(120)
    _verify(service, content)


def _verify(service: ServiceProcess, content: bytes) -> None:
    client = service.client()
    volumes = client.get("volumes", "detail")["volumes"]
    assert {row["status"] for row in volumes} <= SETTLED
    assert {row["status"] for row in client.get("snapshots", "detail")["snapshots"]} <= SETTLED
    wait_until(lambda: not service.leftovers())
    assert service.findings() == []
    whole = 0
    for row in volumes:
        if row["status"] in ("available", "in-use") and (row["bootable"] == "true"):
            with (service.state / "pool" / "volumes" / f"volume-{row['id']}").open("rb") as file:
                assert file.read(len(content)) == content
            whole += 1
    done = client.get("operations", limit=1000)["operations"]
    again = sum(1 for row in done if row["attempts"] > 1)
    print(f"{KILLS} kills, {len(done)} operations of which {again} were resumed, {whole} volumes bit-identical")
