"""What clients and peers' own suites count on beyond the keys of replies: filters, statuses, bodies of actions."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from asking import UNKNOWN, ask
from serving import ServiceProcess

from drivers.memory import Faults
from nbdsvc.store.database import Database

OTHER = {"X_Auth_Token": "t:other"}


def at(version: str, **headers: str) -> dict[str, str]:
    return {"OpenStack_API_Version": f"volume {version}", **headers}


def volume(service: ServiceProcess, project: str = "p1", **fields: Any) -> str:
    body = {"volume": {"size": 1, **fields}}
    made = ask(service, "POST", "/v3/volumes", body, X_Auth_Token=f"t:{project}")[1]["volume"]["id"]
    service.wait_status("volumes", made)
    return str(made)


def ids(service: ServiceProcess, path: str, noun: str, **headers: str) -> set[str]:
    status, content, _ = ask(service, "GET", path, **headers)
    assert status == 200, content
    return {row["id"] for row in content[noun]}


def test_services_are_filtered(shared_service: ServiceProcess) -> None:
    """GET os-services honours host and binary, and calls a storage host what clients look for."""
    for query, found in (
        ("", 1), ("?binary=cinder-volume", 1), ("?binary=cinder-backup", 0), ("?host=me@file", 1), ("?host=me", 1),
        ("?host=me@other", 0), ("?host=unknown&binary=cinder-volume", 0), ("?host=me@file&binary=cinder-volume", 1),
    ):  # fmt: skip
        assert len(ask(shared_service, "GET", f"/v3/os-services{query}")[1]["services"]) == found, query
    assert ask(shared_service, "GET", "/v3/os-services")[1]["services"][0]["binary"] == "cinder-volume"


@pytest.mark.parametrize(
    ("action", "body", "status"),
    [
        ("disable", {"host": "me@file", "binary": "nosuch"}, 404),
        ("enable", {"host": "me@file", "binary": "cinder-backup"}, 404),
        ("disable", {"host": "me@nosuch", "binary": "cinder-volume"}, 404),
        ("disable", {"host": "unknown", "service": "cinder-volume"}, 404),
        ("disable-log-reason", {"host": "me@file", "binary": "nosuch", "disabled_reason": "r"}, 404),
        ("disable-log-reason", {"host": "me@file", "binary": "cinder-volume"}, 400),
        ("disable-log-reason", {"host": "me@file", "binary": "cinder-volume", "disabled_reason": ""}, 400),
        ("disable-log-reason", {"host": "me@file", "binary": "cinder-volume", "disabled_reason": None}, 400),
        ("explode", {"host": "me@file", "binary": "cinder-volume"}, 404),
    ],
)
def test_a_service_that_is_not_there_is_not_changed(
    shared_service: ServiceProcess, action: str, body: Any, status: int
) -> None:
    """An unknown host, binary or action answers 404, a reason that is missing 400, and the host stays enabled."""
    assert ask(shared_service, "PUT", f"/v3/os-services/{action}", body)[0] == status
    assert ask(shared_service, "GET", "/v3/os-services")[1]["services"][0]["status"] == "enabled"


def test_pools_are_filtered(shared_service: ServiceProcess) -> None:
    """get_pools honours name from 3.28 and volume_type from 3.35, and not before."""
    for query, version, found in (
        ("name=nosuch", "3.27", 1), ("name=nosuch", "3.28", 0), ("name=me@file%23file", "3.28", 1),
        ("volume_type=elsewhere", "3.34", 1), ("volume_type=elsewhere", "3.35", 0), ("volume_type=here", "3.35", 1),
    ):  # fmt: skip
        if "volume_type" in query:
            name = query.partition("=")[2]
            specs = {"volume_backend_name": "file" if name == "here" else "nosuch"}
            ask(shared_service, "POST", "/v3/types", {"volume_type": {"name": name, "extra_specs": specs}})
        answered = ask(shared_service, "GET", f"/v3/scheduler-stats/get_pools?{query}", **at(version))[1]
        assert len(answered["pools"]) == found, (query, version)
    assert ask(shared_service, "GET", "/v3/scheduler-stats/get_pools?colour=red", **at("3.31"))[0] == 400


def test_an_administrator_sees_one_project(shared_service: ServiceProcess) -> None:
    """all_tenants=1 with project_id or tenant_id shows that project's rows only, in every list that has projects."""
    made = {}
    for project in ("p1", "other"):
        headers = at("3.27", X_Auth_Token=f"t:{project}")
        made["volumes", project] = id = volume(shared_service, project)
        for noun, field in (("snapshots", "volume_id"), ("attachments", "volume_uuid")):
            body = {noun[:-1]: {field: id}}
            made[noun, project] = ask(shared_service, "POST", f"/v3/{noun}", body, **headers)[1][noun[:-1]]["id"]
            shared_service.settle()
    for noun in ("volumes", "snapshots", "attachments"):
        for path in (f"{noun}?all_tenants=1&", f"{noun}/detail?all_tenants=1&"):
            for key in ("project_id", "tenant_id"):
                found = ids(shared_service, f"/v3/{path}{key}=other", noun, **at("3.71"))
                assert (made[noun, "other"] in found, made[noun, "p1"] in found) == (True, False), path
    for noun in ("messages", "operations"):
        assert ids(shared_service, f"/v3/{noun}?all_tenants=1&project_id=unknown", noun, **at("3.71")) == set()


@pytest.mark.parametrize("noun", ["volumes", "volumes/detail", "snapshots", "attachments", "messages", "operations"])
def test_an_unknown_marker_is_not_found(shared_service: ServiceProcess, noun: str) -> None:
    """A marker that is no row, or another project's, answers 404."""
    other = volume(shared_service, "other")
    for marker in (UNKNOWN, "x", other):
        assert ask(shared_service, "GET", f"/v3/{noun}?marker={marker}", **at("3.71"))[0] == 404


@pytest.mark.parametrize("path", ["volumes/", "snapshots/", "types/", "attachments/", "volumes//metadata", "messages/"])
def test_an_empty_id_is_not_found(shared_service: ServiceProcess, path: str) -> None:
    """An id that is empty is no list and no redirect that would lose the project."""
    for method in ("GET", "DELETE", "PUT"):
        for prefix in ("/v3/p1/", "/v3/"):
            assert ask(shared_service, method, prefix + path, **at("3.71"))[0] in (404, 405), (method, path)
    assert ask(shared_service, "GET", f"/v3/p1/{path}", **at("3.71"))[0] == 404


def test_a_snapshot_of_nothing_is_not_found(shared_service: ServiceProcess) -> None:
    """POST snapshots with volume_id null answers 404, without any 400."""
    assert ask(shared_service, "POST", "/v3/snapshots", {"snapshot": {"volume_id": None}})[0] == 404
    assert ask(shared_service, "POST", "/v3/snapshots", {"snapshot": {}})[0] == 400


def test_extensions_are_told_by_alias(shared_service: ServiceProcess) -> None:
    """GET extensions lists what is served under the names that clients look for."""
    found = {row["alias"]: row["name"] for row in ask(shared_service, "GET", "/v3/extensions")[1]["extensions"]}
    assert found["os-hosts"] == "Hosts"
    assert {"os-services", "os-quota-sets", "os-volume-actions", "scheduler-stats", "os-types-manage"} <= set(found)
    assert {"consistencygroups", "cgsnapshots", "backups"} <= set(found)


def test_hosts(service: ServiceProcess) -> None:
    """GET os-hosts shows the storage hosts, and how much of which project is on one."""
    volume(service), volume(service, "other", size=3)
    assert ask(service, "GET", "/v3/os-hosts?zone=nosuch")[1]["hosts"] == []
    name = ask(service, "GET", "/v3/os-hosts")[1]["hosts"][0]["host_name"]
    rows = [row["resource"] for row in ask(service, "GET", f"/v3/os-hosts/{name}")[1]["host"]]
    assert {row["project"]: (row["volume_count"], row["total_volume_gb"]) for row in rows} == {
        "(total)": ("2", "4"), "p1": ("1", "1"), "other": ("1", "3")
    }  # fmt: skip
    assert ask(service, "GET", "/v3/os-hosts/unknown")[0] == 404


def test_types_are_paged(service: ServiceProcess) -> None:
    """GET types honours limit, offset, marker and sort; without limit there is no link."""
    for name in "bdac":
        ask(service, "POST", "/v3/types", {"volume_type": {"name": name}})

    def found(query: str) -> str:
        return "".join(row["name"][0] for row in ask(service, "GET", f"/v3/types?{query}")[1]["volume_types"])

    rows = ask(service, "GET", "/v3/types?sort=name:asc")[1]
    assert ("volume_type_links" in rows, found("sort=name:asc"), found("sort=name")) == (False, "_abcd", "dcba_")
    marker = rows["volume_types"][1]["id"]
    assert (found("sort=name:asc&limit=2"), found("sort=name:asc&offset=3")) == ("_a", "cd")
    assert (found(f"sort=name:asc&marker={marker}"), found(f"sort=name:asc&marker={marker}&limit=1")) == ("bcd", "b")
    link = ask(service, "GET", "/v3/types?limit=1")[1]["volume_type_links"][0]
    assert (link["rel"], "marker=" in link["href"]) == ("next", True)
    assert ask(service, "GET", f"/v3/types?marker={UNKNOWN}")[0] == 404
    assert ask(service, "GET", "/v3/types?sort=extra_specs")[0] == 400


def test_a_summary_is_filtered(shared_service: ServiceProcess) -> None:
    """GET volumes/summary counts what the filters leave."""
    volume(shared_service, name="counted", size=3)
    for query, count in (("name=counted", 1), ("name=uncounted", 0)):
        found = ask(shared_service, "GET", f"/v3/volumes/summary?{query}", **at("3.12"))[1]["volume-summary"]
        assert (found["total_count"], found["total_size"]) == (count, 3 * count)


def test_filters_by_version(shared_service: ServiceProcess) -> None:
    """A filter that is not known is ignored before 3.31 and refused by name from it on; later filters count from theirs."""
    id = volume(shared_service, metadata={"shelf": "2"}, name="filtered")
    for noun in ("volumes", "snapshots", "attachments", "operations", "messages"):
        assert ask(shared_service, "GET", f"/v3/{noun}?colour=red", **at("3.30"))[0] == 200
        status, content, _ = ask(shared_service, "GET", f"/v3/{noun}?colour=red", **at("3.31"))
        assert (status, "colour" in content["badRequest"]["message"]) == (400, True)
    for query, found in (
        ("metadata={'shelf':'2'}", True), ("metadata={'shelf':'3'}", False), ("metadata={\"shelf\":\"2\"}", True),
        ("name=filtered", True), ("display_name=filtered", True), ("group_id=" + UNKNOWN, False), ("bootable=true", False),
        ("host=me@file%23file", True), ("availability_zone=nova", True), ("glance_metadata={'a':'b'}", False),
        ("name=filtered&name=other", False),
    ):  # fmt: skip
        assert (id in ids(shared_service, f"/v3/volumes?{query}", "volumes", **at("3.71"))) == found, query
    assert id in ids(shared_service, f"/v3/volumes?group_id={UNKNOWN}", "volumes", **at("3.9"))


def test_unknown_fields_of_a_volume(shared_service: ServiceProcess) -> None:
    """Before 3.53 a field of a new volume that is not known is ignored, and one beside the volume is refused."""
    for version in ("3.0", "3.52"):
        body = {"volume": {"size": 1, "colour": "red", "source_replica": None, "status": "creating"}}
        assert ask(shared_service, "POST", "/v3/volumes", body, **at(version))[0] == 202
        assert ask(shared_service, "POST", "/v3/volumes", {**body, "colour": 1}, **at(version))[0] == 400


@pytest.mark.parametrize(("field", "status"), [("group_id", 404), ("consistencygroup_id", 404), ("backup_id", 404)])
def test_a_source_that_does_not_exist_is_not_passed_over(
    shared_service: ServiceProcess, field: str, status: int
) -> None:
    """A group that a new volume is to be in, or a backup that it is to be of, is not found instead of being ignored; a backup
    is refused where it is no field yet."""
    for version in ("3.0", "3.46", "3.71"):
        body = {"volume": {"size": 1, field: UNKNOWN}}
        wanted = 400 if field == "backup_id" and version != "3.71" else status
        assert ask(shared_service, "POST", "/v3/volumes", body, **at(version))[0] == wanted


@pytest.mark.parametrize(
    ("noun", "body"),
    [
        ("snapshots", {"snapshot": {"volume_id": UNKNOWN, "colour": 1}}),
        ("attachments", {"attachment": {"volume_uuid": UNKNOWN, "colour": 1}}),
        ("types", {"volume_type": {"name": "t", "colour": 1}}),
        ("manageable_volumes", {"volume": {"host": "h", "ref": {"a": "b"}, "colour": 1}}),
        ("manageable_snapshots", {"snapshot": {"volume_id": UNKNOWN, "ref": {"a": "b"}, "colour": 1}}),
        (f"volumes/{UNKNOWN}/action", {"os-extend": {"new_size": 2, "colour": 1}}),
        (f"volumes/{UNKNOWN}/action", {"os-attach": {"mountpoint": "/dev/x", "host_name": "h", "colour": 1}}),
    ],
)
def test_other_bodies_are_closed(shared_service: ServiceProcess, noun: str, body: Any) -> None:
    """Bodies whose schema is closed at every version refuse an unknown field by its name."""
    status, content, _ = ask(shared_service, "POST", f"/v3/{noun}", body, **at("3.71"))
    assert (status, "colour" in content["badRequest"]["message"]) == (400, True), content


@pytest.mark.parametrize("value", [None, {}, "", "an id", True, [], {"force": True}])
def test_actions_without_parameters_take_any_value(shared_service: ServiceProcess, value: Any) -> None:
    """Clients send null, {}, true or the id: what says nothing is not judged."""
    id = volume(shared_service)
    for action in ("os-reserve", "os-unreserve", "os-show_image_metadata", "os-roll_detaching", "os-force_delete"):
        assert ask(shared_service, "POST", f"/v3/volumes/{id}/action", {action: value})[0] in (200, 202), action
    fields = {"volume_uuid": volume(shared_service), "connector": {"host": "me"}}
    made = ask(shared_service, "POST", "/v3/attachments", {"attachment": fields}, **at("3.71"))[1]["attachment"]["id"]
    body = {"os-complete": made if value == "an id" else value}
    assert ask(shared_service, "POST", f"/v3/attachments/{made}/action", body, **at("3.71"))[:2] == (204, None)
    ask(shared_service, "DELETE", f"/v3/attachments/{made}", **at("3.71"))


@pytest.mark.parametrize("connector", [None, "a-host", {"host": "me"}])
def test_connectors_as_older_clients_send_them(shared_service: ServiceProcess, connector: Any) -> None:
    """os-terminate_connection and os-force_detach take an object, a name or null as connector."""
    id = volume(shared_service)
    for action in ("os-terminate_connection", "os-force_detach"):
        body = {action: {"connector": connector}}
        assert ask(shared_service, "POST", f"/v3/volumes/{id}/action", body)[0] == 202


@pytest.mark.parametrize("noun", ["volumes", "snapshots"])
def test_force_delete_while_deleting(make_service: Callable[..., ServiceProcess], noun: str) -> None:
    """os-force_delete again answers 202 and adds no second operation; without one that works, it starts one."""
    service = make_service(driver="memory")
    id = volume(service)
    verb = f"delete_{noun[:-1]}"
    if noun == "snapshots":
        id = service.client().post("snapshots", body={"snapshot": {"volume_id": id}})["snapshot"]["id"]
        service.wait_status("snapshots", id)
    Faults(service.state / "pool", "file").plan({verb: [{"error": "DeviceBusy", "times": 1, "delay": 1}]})
    for _ in range(3):
        assert ask(service, "POST", f"/v3/{noun}/{id}/action", {"os-force_delete": {}})[0] == 202
    found = service.client().get("operations", resource_id=id)["operations"]
    assert [row["kind"] for row in found].count(f"{noun[:-1]}.delete") == 1
    service.settle()
    database = Database(str(service.state / "nbdsvc.db"))
    with database.write() as conn:  # the status is set in the row, and no operation works on it
        conn.execute(sa.text(f"UPDATE {noun} SET status = 'deleting' WHERE id = :id"), {"id": id})
    database.close()
    assert ask(service, "POST", f"/v3/{noun}/{id}/action", {"os-force_delete": None})[0] == 202
    assert service.wait_status(noun, id) == "gone"
    assert ask(service, "POST", f"/v3/{noun}/{id}/action", {"os-force_delete": {}})[0] == 404
