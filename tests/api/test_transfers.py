"""Transfers of volumes between projects: the key, who sees what, quotas, refusals, and what the driver is called with."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asking import UNKNOWN, ask
from serving import ServiceProcess
from waiting import wait_until

from drivers.memory import Faults

TOKENS = "".join(
    f'[tokens.{name}]\ntoken = "{name}-0123456789abcdef"\nproject = "{name}"\nroles = ["member"]\n'
    for name in ("p1", "p2")
)


@pytest.fixture(scope="module")
def transferring(module_service: Callable[..., ServiceProcess]) -> Iterator[ServiceProcess]:
    """A service whose driver does not care for owners, with two projects of members."""
    service = module_service("t", start=False, auth="token")
    tokens = service.state.parent / "tokens.toml"
    tokens.write_text(TOKENS + '[tokens.root]\ntoken = "root-0123456789abcdef"\nproject = "p1"\nroles = ["admin"]\n')
    tokens.chmod(0o600)
    service.settings["TOKENS_FILE"] = tokens
    yield service.start()


def send(
    service: ServiceProcess, who: str, method: str, path: str, body: Any = None, version: str = "3.71"
) -> tuple[int, Any]:
    headers = {"X_Auth_Token": f"{who}-0123456789abcdef", "OpenStack_API_Version": f"volume {version}"}
    return ask(service, method, f"/v3/{path}", body, **headers)[:2]


def good(service: ServiceProcess, who: str, method: str, path: str, body: Any = None, version: str = "3.71") -> Any:
    status, content = send(service, who, method, path, body, version)
    assert status < 300, content
    return content


def new_volume(service: ServiceProcess, who: str = "p1", **fields: Any) -> str:
    id = str(good(service, who, "POST", "volumes", {"volume": {"size": 1, **fields}})["volume"]["id"])
    settled(service, who, "volumes", id)
    return id


def settled(service: ServiceProcess, who: str, noun: str, id: str) -> None:
    def status() -> str:
        return str(good(service, who, "GET", f"{noun}/{id}")[noun[:-1]]["status"])

    wait_until(lambda: status() == "available", facts=status)


def offer(service: ServiceProcess, volume: str, **fields: Any) -> dict[str, Any]:
    made = good(service, "p1", "POST", "os-volume-transfer", {"transfer": {"volume_id": volume, **fields}})
    return dict(made["transfer"])


def accept(service: ServiceProcess, made: dict[str, Any], key: str | None = None, who: str = "p2") -> tuple[int, Any]:
    body = {"accept": {"auth_key": key or made["auth_key"]}}
    return send(service, who, "POST", f"os-volume-transfer/{made['id']}/accept", body)


def used(service: ServiceProcess, project: str) -> dict[str, int]:
    found = good(service, "root", "GET", f"os-quota-sets/{project}?usage=true")["quota_set"]
    return {name: found[name]["in_use"] for name in ("volumes", "snapshots", "gigabytes")}


def test_a_volume_and_its_snapshots_change_their_project(transferring: ServiceProcess) -> None:
    """Offered, awaiting-transfer, accepted by another project: it has both, and is charged for both; the first has neither."""
    service = transferring
    volume = new_volume(service, size=2, name="gift")
    snapshot = good(service, "p1", "POST", "snapshots", {"snapshot": {"volume_id": volume}})["snapshot"]["id"]
    settled(service, "p1", "snapshots", snapshot)
    before = {project: used(service, project) for project in ("p1", "p2")}
    made = offer(service, volume, name=" n ")
    since = {"no_snapshots", "source_project_id", "destination_project_id", "accepted"}
    assert set(made) == {"id", "name", "volume_id", "links", "created_at", "auth_key"} | since
    assert (made["name"], made["volume_id"]) == ("n", volume)
    assert good(service, "p1", "GET", f"volumes/{volume}")["volume"]["status"] == "awaiting-transfer"
    status, content = accept(service, made)
    assert (status, set(content["transfer"])) == (202, {"id", "name", "volume_id", "links"})
    for path in (f"volumes/{volume}", f"snapshots/{snapshot}"):
        assert send(service, "p1", "GET", path)[0] == 404
    shown = good(service, "p2", "GET", f"volumes/{volume}")["volume"]
    assert (shown["status"], shown["user_id"], shown["name"]) == ("available", "p2", "gift")
    assert good(service, "p2", "GET", f"snapshots/{snapshot}")["snapshot"]["user_id"] == "p2"
    moved = {"volumes": 1, "snapshots": 1, "gigabytes": 4}
    assert used(service, "p1") == {name: before["p1"][name] - count for name, count in moved.items()}
    assert used(service, "p2") == {name: before["p2"][name] + count for name, count in moved.items()}
    assert accept(service, made)[0] == 404
    assert send(service, "p1", "GET", f"os-volume-transfer/{made['id']}")[0] == 404


def test_the_key_is_shown_once_and_kept_as_a_hash(transferring: ServiceProcess) -> None:
    """No later reply has it, nor the database, nor the log; two transfers never have the same."""
    service = transferring
    made = [offer(service, new_volume(service)) for _ in range(2)]
    keys = {each["auth_key"] for each in made}
    assert {len(key) for key in keys} == {32}
    assert len(keys) == 2
    replies = [good(service, "p1", "GET", path) for path in ("os-volume-transfer/detail", "volume-transfers/detail",
                                                             f"os-volume-transfer/{made[0]['id']}")]  # fmt: skip
    accept(service, made[0], "wrong" * 4)
    files = [path.read_bytes() for path in service.state.glob("nbdsvc.db*")] + [service.log.read_bytes()]
    assert len(files) > 1
    for key in keys:
        assert key not in str(replies)
        assert not any(key.encode() in content for content in files)


def test_tries_are_limited(transferring: ServiceProcess) -> None:
    """Ten wrong keys, also at once: then the right one is refused too; a right one before that starts the count anew."""
    service = transferring
    made = offer(service, new_volume(service))
    replies: list[tuple[int, Any]] = []
    threads = [threading.Thread(target=lambda: replies.append(accept(service, made, "x" * 32))) for _ in range(14)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reasons = [content["badRequest"]["message"] for _, content in replies]
    assert len([reason for reason in reasons if "not the key" in reason]) == 10
    assert "made anew" in str(accept(service, made))
    assert send(service, "p1", "DELETE", f"os-volume-transfer/{made['id']}")[0] == 202
    settled(service, "p1", "volumes", made["volume_id"])


def test_a_neighbour_sees_nothing(transferring: ServiceProcess) -> None:
    """Another project neither lists, shows nor deletes it, and offers no volume but its own; an administrator sees all."""
    service = transferring
    volume = new_volume(service)
    made = offer(service, volume)
    for noun in ("os-volume-transfer", "volume-transfers"):
        assert good(service, "p2", "GET", f"{noun}/detail?all_tenants=1")["transfers"] == []
        for method in ("GET", "DELETE"):
            assert send(service, "p2", method, f"{noun}/{made['id']}")[0] == 404
        listed = good(service, "root", "GET", f"{noun}?all_tenants=1")["transfers"]
        assert made["id"] in [row["id"] for row in listed]
        assert send(service, "p2", "POST", noun, {"transfer": {"volume_id": volume}})[0] == 404
    assert accept(service, {"id": UNKNOWN, "auth_key": made["auth_key"]})[0] == 404
    assert good(service, "p1", "GET", f"os-volume-transfer/{made['id']}")["transfer"]["id"] == made["id"]


def test_what_cannot_be_offered_says_why(transferring: ServiceProcess) -> None:
    """In use, connected by a volume action only, offered already, or with a snapshot that failed: 400 with the reason."""
    service = transferring
    user = {"instance_uuid": UNKNOWN, "mountpoint": "/dev/vdb"}
    attached, connected, offered, failed = (new_volume(service) for _ in range(4))
    good(service, "p1", "POST", f"volumes/{attached}/action", {"os-attach": user})
    connection = {"os-initialize_connection": {"connector": {"host": "me", "ip": "127.0.0.1"}}}
    good(service, "p1", "POST", f"volumes/{connected}/action", connection)
    offer(service, offered)
    snapshot = good(service, "p1", "POST", "snapshots", {"snapshot": {"volume_id": failed}})["snapshot"]["id"]
    settled(service, "p1", "snapshots", snapshot)
    good(service, "root", "POST", f"snapshots/{snapshot}/action", {"os-reset_status": {"status": "error"}})
    for volume, reason in ((attached, "attached"), (connected, "attached"), (offered, "awaiting-transfer"),
                           (failed, "Snapshot")):  # fmt: skip
        status, content = send(service, "p1", "POST", "volume-transfers", {"transfer": {"volume_id": volume}})
        assert (status, reason in content["badRequest"]["message"]) == (400, True), content
    for wrong in ({}, {"volume_id": "x"}, {"volume_id": offered, "more": 1}):
        assert send(service, "p1", "POST", "volume-transfers", {"transfer": wrong})[0] == 400
    # Who offers a volume keeps no way to its bytes.
    status, content = send(service, "p1", "POST", f"volumes/{offered}/action", connection)
    assert (status, "awaiting-transfer" in str(content)) == (400, True)


def test_what_cannot_be_accepted_changes_nothing(transferring: ServiceProcess) -> None:
    """Over quota, a private type, or a status that was changed by hand: refused with the reason, and accepted afterwards."""
    service = transferring
    kind = {"name": "private", "os-volume-type-access:is_public": False}
    kind_id = good(service, "root", "POST", "types", {"volume_type": kind})["volume_type"]["id"]
    allow = {"addProjectAccess": {"project": "p1"}}
    good(service, "root", "POST", f"types/{kind_id}/action", allow)
    volume = new_volume(service, volume_type="private", size=3)
    made = offer(service, volume)

    def limit(**limits: int) -> None:
        good(service, "root", "PUT", "os-quota-sets/p2", {"quota_set": limits})

    def refused(status: int, reason: str) -> None:
        for _ in range(4):  # a right key is no try
            found, content = accept(service, made)
            assert (found, reason in str(content)) == (status, True), content
        assert good(service, "p1", "GET", f"volumes/{volume}")["volume"]["size"] == 3

    for limits in ({"volumes": used(service, "p2")["volumes"]}, {"gigabytes": used(service, "p2")["gigabytes"] + 2}):
        limit(**limits)
        refused(413, "xceed")
        limit(volumes=-1, gigabytes=-1)
    limit(per_volume_gigabytes=2)
    refused(413, "larger than")
    limit(per_volume_gigabytes=-1)
    refused(400, "may not use")
    good(service, "root", "POST", f"types/{kind_id}/action", {"addProjectAccess": {"project": "p2"}})
    good(service, "root", "POST", f"volumes/{volume}/action", {"os-reset_status": {"status": "error"}})
    refused(400, "its status is error")
    good(service, "root", "POST", f"volumes/{volume}/action", {"os-reset_status": {"status": "awaiting-transfer"}})
    assert accept(service, made)[0] == 202
    assert send(service, "p1", "GET", f"volumes/{volume}")[0] == 404


def test_one_of_many_gets_it(transferring: ServiceProcess) -> None:
    """Accepted by several at once it belongs to one, and the others are refused."""
    service = transferring
    made = offer(service, new_volume(service))
    replies: list[int] = []
    threads = [threading.Thread(target=lambda: replies.append(accept(service, made)[0])) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies.count(202) == 1
    assert set(replies) <= {202, 404, 409}


def test_a_transfer_goes_with_its_volume(transferring: ServiceProcess) -> None:
    """Deleted by force, a volume leaves no transfer behind."""
    service = transferring
    made = offer(service, new_volume(service))
    good(service, "root", "POST", f"volumes/{made['volume_id']}/action", {"os-force_delete": {}})
    path = f"os-volume-transfer/{made['id']}"
    wait_until(lambda: send(service, "p1", "GET", path)[0] == 404)


def _owner(service: ServiceProcess, volume: str) -> Any:
    with sqlite3.connect(f"file:{service.state}/nbdsvc.db?mode=ro", uri=True) as database:
        found = database.execute("SELECT project_id, status, driver_data FROM volumes WHERE id = ?", (volume,))
        return found.fetchone()


@pytest.mark.row("S095")
def test_the_driver_is_told_of_the_new_owner(make_service: Callable[..., ServiceProcess]) -> None:
    """What accept_transfer returns is kept. A driver that fails leaves all as it was; one that cannot take it back: `error`."""
    service = make_service(driver="memory")
    client, faults = service.client(), Faults(service.state / "pool", "file")

    def offered() -> dict[str, Any]:
        id = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
        assert service.wait_status("volumes", id) == "available"
        return dict(client.post("os-volume-transfer", body={"transfer": {"volume_id": id}})["transfer"])

    def taken(made: dict[str, Any]) -> int:
        body, who = {"accept": {"auth_key": made["auth_key"]}}, {"X_Auth_Token": "new:p2"}
        return ask(service, "POST", f"/v3/os-volume-transfer/{made['id']}/accept", body, **who)[0]

    made = offered()
    faults.plan({"accept_transfer": [{"error": "DeviceBusy", "times": 1}]})
    assert taken(made) == 503
    service.settle()
    assert _owner(service, made["volume_id"])[:2] == ("p1", "awaiting-transfer")
    assert taken(made) == 202
    assert _owner(service, made["volume_id"]) == ("p2", "available", '{"owner": ["p2", "new"]}')
    made = offered()
    faults.plan({"accept_transfer": [{"error": "DeviceBusy"}]})
    assert taken(made) >= 400
    service.settle()
    assert _owner(service, made["volume_id"])[:2] == ("p1", "error")


def test_a_group_of_a_snapshot_whose_volume_was_given_away(transferring: ServiceProcess) -> None:
    """The group snapshot stays with its project. What is made of it has nothing that the volume's new project has
    said of the volume.
    """
    specs = {"group_type": {"name": "plain", "group_specs": {}}}
    kind = good(transferring, "root", "POST", "group_types", specs)["group_type"]["id"]
    new = {"group": {"group_type": kind, "volume_types": ["__DEFAULT__"]}}
    group = good(transferring, "p1", "POST", "groups", new)["group"]["id"]
    settled(transferring, "p1", "groups", group)
    volume = new_volume(transferring, name="mine", group_id=group)
    snapshot = {"group_snapshot": {"group_id": group}}
    whole = good(transferring, "p1", "POST", "group_snapshots", snapshot)["group_snapshot"]["id"]
    settled(transferring, "p1", "group_snapshots", whole)
    good(transferring, "p1", "PUT", f"groups/{group}", {"group": {"remove_volumes": volume}})
    settled(transferring, "p1", "groups", group)
    body = {"transfer": {"volume_id": volume, "no_snapshots": True}}
    offered = good(transferring, "p1", "POST", "volume-transfers", body)["transfer"]
    key = {"accept": {"auth_key": offered["auth_key"]}}
    good(transferring, "p2", "POST", f"volume-transfers/{offered['id']}/accept", key)
    theirs = {"name": "theirs", "description": "theirs", "metadata": {"theirs": "theirs"}}
    good(transferring, "p2", "PUT", f"volumes/{volume}", {"volume": theirs})
    image = {"os-set_image_metadata": {"metadata": {"theirs": "theirs"}}}
    theirs_alone = {"volume_type": {"name": "theirs", "os-volume-type-access:is_public": False}}
    kind = good(transferring, "root", "POST", "types", theirs_alone)["volume_type"]["id"]
    access = {"addProjectAccess": {"project": "p2"}}
    good(transferring, "root", "POST", f"types/{kind}/action", access)
    for action in (image, {"os-set_bootable": {"bootable": True}}, {"os-retype": {"new_type": "theirs"}}):
        good(transferring, "p2", "POST", f"volumes/{volume}/action", action)
    settled(transferring, "p2", "volumes", volume)
    assert good(transferring, "p2", "GET", f"volumes/{volume}")["volume"]["volume_type"] == "theirs"
    source = {"create-from-src": {"group_snapshot_id": whole, "name": "again"}}
    again = good(transferring, "p1", "POST", "groups/action", source)["group"]["id"]
    settled(transferring, "p1", "groups", again)
    (made,) = good(transferring, "p1", "GET", f"volumes/detail?group_id={again}")["volumes"]
    _is_mine(made)
    (part,) = good(transferring, "p1", "GET", f"snapshots?volume_id={volume}")["snapshots"]
    single = new_volume(transferring, snapshot_id=part["id"])
    _is_mine(good(transferring, "p1", "GET", f"volumes/{single}")["volume"])


def _is_mine(volume: dict[str, Any]) -> None:
    assert "theirs" not in str(volume)
    assert (volume["volume_type"], volume["bootable"]) == ("__DEFAULT__", "false")
