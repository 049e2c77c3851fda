"""The default volume type and availability zones: what a volume gets whose creation does not say."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from asking import ask
from serving import ServiceProcess

from nbdsvc.model import clock, names
from nbdsvc.model.entities import Volume
from nbdsvc.store import migrate, repositories, tables
from nbdsvc.store.database import Database


def create(service: ServiceProcess, **fields: Any) -> tuple[int, Any]:
    status, content, _ = ask(service, "POST", "/v3/volumes", {"volume": {"size": 1, **fields}})
    return status, content


def test_a_volume_without_a_type_has_the_default_one(service: ServiceProcess) -> None:
    """__DEFAULT__ is there from the start, is shown, counts as the type of such volumes, and cannot be deleted."""
    kind = ask(service, "GET", "/v3/types/default")[1]["volume_type"]
    assert kind["name"] == "__DEFAULT__"
    assert [row["id"] for row in ask(service, "GET", "/v3/types")[1]["volume_types"]] == [kind["id"]]
    for fields in ({}, {"volume_type": None}, {"volume_type": ""}, {"volume_type": "__DEFAULT__"}):
        assert create(service, **fields)[1]["volume"]["volume_type"] == "__DEFAULT__"
    status, content, _ = ask(service, "DELETE", f"/v3/types/{kind['id']}")
    assert (status, "default type" in content["badRequest"]["message"]) == (400, True)
    assert ask(service, "GET", f"/v3/volumes/detail?volume_type_id={kind['id']}")[1]["volumes"] != []


def test_the_setting_names_another_default_type(make_service: Callable[..., ServiceProcess]) -> None:
    """default_volume_type is what volumes get; __DEFAULT__ may go then; one that does not exist is said."""
    service = make_service(default_volume_type="fast")
    status, content = create(service)
    assert (status, content["itemNotFound"]["message"].endswith("fast could not be found.")) == (404, True)
    made = ask(service, "POST", "/v3/types", {"volume_type": {"name": "fast"}})[1]["volume_type"]["id"]
    assert create(service)[1]["volume"]["volume_type"] == "fast"
    assert ask(service, "DELETE", f"/v3/types/{made}")[0] == 400
    assert ask(service, "DELETE", "/v3/types/" + old(service))[0] == 202


def old(service: ServiceProcess) -> str:
    rows = ask(service, "GET", "/v3/types")[1]["volume_types"]
    return next(str(row["id"]) for row in rows if row["name"] == "__DEFAULT__")


def test_an_older_database_gets_the_default_type(database_url: str) -> None:
    """Volumes from before have the default type after the migration, and services the binary that clients look for."""
    database = Database(database_url)
    migrate.upgrade(database, "0001")
    made = Volume(names.new_id(), "p", "u", 1, "available", "h", "b", "p")
    with database.write() as conn:
        there = {
            column["name"] for column in sa.inspect(conn).get_columns("volumes")
        }  # later migrations added other columns
        row = {key: value for key, value in asdict(made).items() if key in there}
        conn.execute(tables.volumes.insert().values(row | {"host": made.full_host}))
        values = {"id": names.new_id(), "host": "h", "binary": "nbdsvc-host", "availability_zone": "nova", "disabled": True,
                  "frozen": False, "working": True, "created_at": clock.now(),
                  "capabilities": {"backend": "b", "pools": [], "instant_clone": True}}  # fmt: skip
        services = sa.table(
            "services",
            *(sa.column(name) for name in values if name != "capabilities"),
            sa.column("capabilities", sa.JSON),
        )
        conn.execute(services.insert().values(values))
    migrate.upgrade(database)
    with database.read() as conn:
        kinds = repositories.volume_types.select(conn)
        assert [(kind.name, kind.is_public, kind.extra_specs) for kind in kinds] == [("__DEFAULT__", True, {})]
        volume = repositories.volumes.get(conn, made.id)
        assert (volume.volume_type_id, volume.host, volume.backend, volume.pool) == (kinds[0].id, "h", "b", "p")
        (backend,) = repositories.backends.select(conn)
        assert (backend.full_name, backend.binary, backend.disabled) == ("h@b", "cinder-volume", True)
        assert backend.capabilities == {"instant_clone": True}
    database.close()


def test_a_zone_that_does_not_exist(make_service: Callable[..., ServiceProcess]) -> None:
    """It is refused by name; where the administrator allows a fallback, the volume is in the default zone."""
    service = make_service(availability_zone="room1")
    status, content = create(service, availability_zone="nosuch")
    assert (status, "Availability zone 'nosuch' is invalid." in content["badRequest"]["message"]) == (400, True)
    for fields in ({}, {"availability_zone": None}, {"availability_zone": ""}, {"availability_zone": "room1"}):
        assert create(service, **fields)[1]["volume"]["availability_zone"] == "room1"
    zones = ask(service, "GET", "/v3/os-availability-zone")[1]["availabilityZoneInfo"]
    assert zones == [{"zoneName": "room1", "zoneState": {"available": True}}]
    id = create(service)[1]["volume"]["id"]
    service.wait_status("volumes", id)
    assert create(service, source_volid=id, availability_zone="room2")[0] == 400
    assert create(service, source_volid=id)[1]["volume"]["availability_zone"] == "room1"
    service.stop()
    service.settings["ALLOW_AVAILABILITY_ZONE_FALLBACK"] = "true"
    service.start()
    assert create(service, availability_zone="nosuch")[1]["volume"]["availability_zone"] == "room1"


def test_the_type_of_a_copy(service: ServiceProcess) -> None:
    """A volume of an image has the type that the image names, a clone or restored snapshot its source's, unless one is given."""
    ask(service, "POST", "/v3/types", {"volume_type": {"name": "fast"}})
    folder, image = service.state / "images", names.new_id()
    index = {"id": image, "name": "typed", "disk_format": "raw", "properties": {"cinder_img_volume_type": "fast"}}
    folder.mkdir(exist_ok=True)
    (folder / f"{image}.data").write_bytes(bytes(4096))
    (folder / f"{image}.json").write_text(json.dumps(index))
    made = create(service, imageRef="typed")[1]["volume"]
    assert made["volume_type"] == "fast"
    service.wait_status("volumes", made["id"])
    assert create(service, imageRef="typed", volume_type="__DEFAULT__")[1]["volume"]["volume_type"] == "__DEFAULT__"
    assert create(service, source_volid=made["id"])[1]["volume"]["volume_type"] == "fast"
    body = {"snapshot": {"volume_id": made["id"]}}
    snapshot = ask(service, "POST", "/v3/snapshots", body)[1]["snapshot"]["id"]
    service.wait_status("snapshots", snapshot)
    assert create(service, snapshot_id=snapshot)[1]["volume"]["volume_type"] == "fast"
    assert create(service, imageRef="typed#1")[1]["volume"]["volume_type"] == "fast"
    (folder / f"{image}.json").write_text(json.dumps({**index, "properties": {"cinder_img_volume_type": "nosuch"}}))
    assert create(service, imageRef="typed")[0] == 404
