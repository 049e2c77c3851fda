"""What came with later microversions: tags of metadata, messages, like filters, resource filters, revert."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from asking import UNKNOWN, ask
from serving import ServiceProcess

from drivers.memory import Faults


def volume(service: ServiceProcess, **fields: Any) -> str:
    made = service.client().post("volumes", body={"volume": {"size": 1, **fields}})["volume"]["id"]
    service.wait_status("volumes", made)
    return str(made)


def at(version: str, **headers: str) -> dict[str, str]:
    return {"OpenStack_API_Version": f"volume {version}", **headers}


@pytest.mark.parametrize("noun", ["volumes", "snapshots"])
def test_a_tag_keeps_metadata_from_lost_updates(shared_service: ServiceProcess, noun: str) -> None:
    """From 3.15 a change with the tag of what is there succeeds, with an older one answers 412 and changes nothing."""
    id = volume(shared_service, metadata={"a": "1"})
    if noun == "snapshots":
        fields = {"volume_id": id, "metadata": {"a": "1"}, "force": True}
        id = shared_service.client().post("snapshots", body={"snapshot": fields})["snapshot"]["id"]
    path = f"/v3/{noun}/{id}/metadata"
    assert "etag" not in ask(shared_service, "GET", path, **at("3.14"))[2]
    tag = ask(shared_service, "GET", path, **at("3.15"))[2]["etag"]
    body = {"metadata": {"b": "2"}}
    status, found, headers = ask(shared_service, "POST", path, body, **at("3.15", If_Match=tag))
    assert (status, found) == (200, {"metadata": {"a": "1", "b": "2"}})
    assert headers["etag"] != tag
    for method, where, content in (("PUT", path, body), ("POST", path, body), ("PUT", f"{path}/b", {"meta": {"b": "3"}}),
                                   ("DELETE", f"{path}/b", None)):  # fmt: skip
        assert ask(shared_service, method, where, content, **at("3.15", If_Match=tag))[0] == 412
    assert ask(shared_service, "GET", path)[1] == {"metadata": {"a": "1", "b": "2"}}
    assert ask(shared_service, "PUT", path, body, **at("3.14", If_Match=tag))[0] == 200
    assert ask(shared_service, "POST", path, {"metadata": {"c": "3"}}, **at("3.71", If_Match="*"))[0] == 200


def test_a_message_says_why_it_failed(make_service: Callable[..., ServiceProcess]) -> None:
    """A failed creation is a message of its volume, to its own project only; deleting it forgets it."""
    service = make_service(driver="memory")
    Faults(service.state / "pool", "file").plan({"create_volume": [{"error": "DeviceBusy", "times": 1}]})
    id = volume(service)
    found = ask(service, "GET", f"/v3/messages?resource_uuid={id}", **at("3.3"))[1]["messages"]
    assert [(m["resource_type"], m["resource_uuid"], m["message_level"]) for m in found] == [("VOLUME", id, "ERROR")]
    assert "simulated fault in create_volume" in found[0]["user_message"]
    assert found[0]["request_id"].startswith("req-")
    path = f"/v3/messages/{found[0]['id']}"
    assert ask(service, "GET", path)[0] == 404  # before 3.3
    assert ask(service, "GET", path, **at("3.3"))[1]["message"] == found[0]
    assert ask(service, "GET", "/v3/messages", **at("3.3", X_Auth_Token="t:other"))[1]["messages"] == []
    assert ask(service, "DELETE", path, **at("3.3"))[0] == 204
    assert ask(service, "GET", path, **at("3.3"))[0] == 404
    succeeded = service.client().get("operations")["operations"]
    assert all(ask(service, "GET", f"/v3/messages/{row['id']}", **at("3.3"))[0] == 404 for row in succeeded)


def test_like_filters(shared_service: ServiceProcess) -> None:
    """From 3.34 `name~=` finds parts of names, and takes signs of SQL for themselves."""
    names = ["alpha-100%", "alpha-1000", "beta"]
    for name in names:
        volume(shared_service, name=name)

    def found(query: str, version: str) -> list[str]:
        rows = ask(shared_service, "GET", f"/v3/volumes?{query}&sort=name:asc", **at(version))[1]["volumes"]
        return [row["name"] for row in rows if row["name"] in names]

    assert found("name~=alpha", "3.34") == names[:2]
    assert found("name~=100%25", "3.34") == names[:1]
    assert found("name~=alpha", "3.30") == names
    assert ask(shared_service, "GET", "/v3/volumes?name~=alpha", **at("3.33"))[0] == 400


def test_resource_filters(shared_service: ServiceProcess) -> None:
    """From 3.33 the service says what each list may be filtered by."""
    assert ask(shared_service, "GET", "/v3/resource_filters", **at("3.32"))[0] == 404
    everything = ask(shared_service, "GET", "/v3/resource_filters", **at("3.33"))[1]["resource_filters"]
    assert {row["resource"] for row in everything} >= {"volume", "snapshot", "attachment"}
    only = ask(shared_service, "GET", "/v3/resource_filters?resource=snapshot", **at("3.33"))[1]["resource_filters"]
    assert [(row["resource"], "volume_id" in row["filters"]) for row in only] == [("snapshot", True)]


@pytest.mark.parametrize("backend", ["instant", "copying"])
def test_revert_to_the_newest_snapshot(make_service: Callable[..., ServiceProcess], backend: str) -> None:
    """The bytes of then, byte by byte; an older snapshot, another size or a volume in use are refused with the reason."""
    service = make_service(driver="memory", driver_options=f"instant_clone = {str(backend == 'instant').lower()}")
    client, id = service.client(), volume(service)
    path = service.state / "pool" / "volumes" / f"volume-{id}"
    before = os.urandom(3 << 20)
    path.open("r+b").write(before)
    taken = []
    for _ in range(2):
        taken.append(client.post("snapshots", body={"snapshot": {"volume_id": id}})["snapshot"]["id"])
        assert service.wait_status("snapshots", taken[-1]) == "available"
    with path.open("r+b") as file:
        file.seek(1 << 20)
        file.write(os.urandom(8 << 20))

    def refused(status: int, reason: str, snapshot: str) -> None:
        body = {"revert": {"snapshot_id": snapshot}}
        found, content, _ = ask(service, "POST", f"/v3/volumes/{id}/action", body, **at("3.40"))
        assert (found, reason in str(content)) == (status, True), content

    refused(400, "not the newest", taken[0])
    refused(404, "Snapshot", UNKNOWN)
    fields = {"volume_uuid": id, "connector": {"host": "me"}}
    attachment = client.post("attachments", body={"attachment": fields})["attachment"]["id"]
    refused(409, "attaching", taken[1])
    client.delete("attachments", attachment)
    client.act("volumes", id, "revert", {"snapshot_id": taken[1]})
    assert service.wait_status("volumes", id) == "available"
    assert service.wait_status("snapshots", taken[1]) == "available"
    with path.open("rb") as file:
        assert file.read(12 << 20) == before + bytes(9 << 20)
    client.act("volumes", id, "os-extend", {"new_size": 2})
    assert service.wait_status("volumes", id) == "available"
    refused(400, "had 1 GiB", taken[1])
    assert service.leftovers() == []
