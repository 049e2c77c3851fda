"""Statuses change by the rows of model/states.py only, whatever is requested and when."""

import pytest
from asking import ask
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import ServiceProcess

from nbdsvc import errors
from nbdsvc.model import names, states
from nbdsvc.model.entities import Volume
from nbdsvc.store import repositories
from nbdsvc.store.database import Database

USER = {"instance_uuid": "5b1a8b4e-0000-4000-8000-000000000001", "mountpoint": "/dev/vdb", "mode": "rw"}


def _volume(service: ServiceProcess) -> str:
    made = str(service.client().post("volumes", body={"volume": {"size": 1}})["volume"]["id"])
    service.wait_status("volumes", made)
    return made


@pytest.mark.row("S027")
@pytest.mark.parametrize("status", ["extending", "deleting", "uploading", "creating"])
def test_os_attach_takes_nothing_from_an_operation(shared_service: ServiceProcess, status: str) -> None:
    """While an operation owns the volume, os-attach is refused and the status stays: of a read-only volume, and again."""
    client = shared_service.client()
    readonly, attached = _volume(shared_service), _volume(shared_service)
    client.act("volumes", readonly, "os-update_readonly_flag", {"readonly": True})
    client.act("volumes", attached, "os-attach", USER)
    for volume in (readonly, attached):
        client.act("volumes", volume, "os-reset_status", {"status": status})
        answered = ask(shared_service, "POST", f"/v3/volumes/{volume}/action", {"os-attach": USER})
        assert answered[0] == 400
        assert f"its status is {status};" in answered[1]["badRequest"]["message"]
        assert client.get("volumes", volume)["volume"]["status"] == status


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(states.VOLUME_STATUSES)),
    st.sampled_from(sorted(states.VOLUME_STATUSES)),
    st.sampled_from(sorted(states.VOLUME_STATUSES)),
)
def test_a_status_changes_by_the_table_only(database: Database, is_now: str, source: str, target: str) -> None:
    """A transition that the table does not have is refused as our own fault; one that it has moves the rows it names."""
    allowed = source == target or (source, target) in states.moves(states.VOLUME)
    with database.write() as conn:
        row = repositories.volumes.insert(conn, Volume(names.new_id(), "p", "u", 1, is_now, "h", "b", "p"))
        with pytest.raises(errors.InternalError, match="by a transition only"):
            repositories.volumes.update(conn, row.id, status=target)
        if allowed:
            assert repositories.volumes.transition_if(conn, row.id, [source], target) is (is_now == source)
        else:
            with pytest.raises(errors.InternalError, match="no transition"):
                repositories.volumes.transition_if(conn, row.id, [source], target)
        moved = allowed and is_now == source
        assert repositories.volumes.get(conn, row.id).status == (target if moved else is_now)


def test_a_snapshot_that_is_not_there_cannot_be_reset(shared_service: ServiceProcess) -> None:
    """os-reset_status of an unknown snapshot is 404, of a known one the requested status."""
    volume = _volume(shared_service)
    snapshot = shared_service.client().post("snapshots", body={"snapshot": {"volume_id": volume}})["snapshot"]["id"]
    shared_service.wait_status("snapshots", snapshot)
    for id, expected in ((snapshot, 202), (volume, 404)):
        body = {"os-reset_status": {"status": "error"}}
        assert ask(shared_service, "POST", f"/v3/snapshots/{id}/action", body)[0] == expected
    assert shared_service.client().get("snapshots", snapshot)["snapshot"]["status"] == "error"


def test_the_readonly_flag_of_a_volume_in_use_stays(shared_service: ServiceProcess) -> None:
    """Its user would write on, so os-update_readonly_flag is refused with the statuses that would do."""
    client, volume = shared_service.client(), _volume(shared_service)
    client.act("volumes", volume, "os-attach", USER)
    body = {"os-update_readonly_flag": {"readonly": True}}
    answered = ask(shared_service, "POST", f"/v3/volumes/{volume}/action", body)
    assert answered[0] == 400
    assert "allowed from: available" in answered[1]["badRequest"]["message"]
    client.act("volumes", volume, "os-detach", {})
    shared_service.wait_status("volumes", volume)
    assert ask(shared_service, "POST", f"/v3/volumes/{volume}/action", body)[0] == 202


def test_an_attachment_that_is_attached_is_connected_again(shared_service: ServiceProcess) -> None:
    """As a host does that lost its device: the reply has the same export, and the attachment stays attached."""
    volume, connector = _volume(shared_service), {"host": "me", "ip": "127.0.0.1"}
    version = {"OpenStack_API_Version": "volume 3.71"}
    body = {"attachment": {"volume_uuid": volume, "connector": connector}}
    made = ask(shared_service, "POST", "/v3/attachments", body, **version)[1]["attachment"]
    path, again = f"/v3/attachments/{made['id']}", {"attachment": {"connector": connector}}
    ask(shared_service, "POST", f"{path}/action", {"os-complete": {}}, **version)
    status, reply, _ = ask(shared_service, "PUT", path, again, **version)
    assert (status, reply["attachment"]["status"]) == (200, "attached")
    assert reply["attachment"]["connection_info"] == made["connection_info"]
