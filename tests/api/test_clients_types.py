"""python-cinderclient, unmodified: QoS specs, encrypted types, quota classes."""

from typing import Any

import pytest
from cinderclient import client as cinderclient
from cinderclient.contrib.noauth import CinderNoAuthPlugin
from cinderclient.exceptions import BadRequest
from keystoneauth1 import session
from serving import ServiceProcess


def cinder(service: ServiceProcess) -> Any:
    plugin = CinderNoAuthPlugin("tester", "p1", endpoint=service.url)
    return cinderclient.Client("3.71", session=session.Session(auth=plugin))


def test_cinderclient_qos(service: ServiceProcess) -> None:
    """qos-create, -list, -show, -key, -associate, -get-association, -disassociate, -disassociate-all and -delete."""
    client = cinder(service)
    kind = client.volume_types.create("limited")
    made = client.qos_specs.create("gold", {"consumer": "back-end", "total_iops_sec": "1000"})
    assert (client.qos_specs.find(name="gold").id, made.specs) == (made.id, {"total_iops_sec": "1000"})
    client.qos_specs.set_keys(made.id, {"total_bytes_sec": "5000"})
    client.qos_specs.unset_keys(made.id, ["total_iops_sec"])
    assert client.qos_specs.get(made.id).specs == {"total_bytes_sec": "5000"}
    client.qos_specs.associate(made, kind.id)
    assert [row.id for row in client.qos_specs.get_associations(made)] == [kind.id]
    with pytest.raises(BadRequest, match="use force"):
        client.qos_specs.delete(made)
    client.qos_specs.disassociate(made, kind.id)
    client.qos_specs.associate(made, kind.id)
    client.qos_specs.disassociate_all(made)
    assert client.qos_specs.get_associations(made) == []
    client.qos_specs.delete(made, force=True)
    assert client.qos_specs.list() == []


def test_cinderclient_encrypted_types_and_quota_classes(service: ServiceProcess) -> None:
    """encryption-type-create, -list, -show, -update and -delete, the encryption of a volume, quota-class-show and -update."""
    client = cinder(service)
    kind = client.volume_types.create("secret")
    types = client.volume_encryption_types
    assert types.create(kind, {"provider": "luks", "key_size": 256}).volume_type_id == kind.id
    assert [(row.provider, row.key_size) for row in types.list()] == [("luks", 256)]
    types.update(kind, {"cipher": "aes"})
    assert types.get(kind).cipher == "aes"
    with pytest.raises(BadRequest, match="cannot do yet"):
        client.volumes.create(1, volume_type="secret")
    types.delete(kind)
    volume = client.volumes.create(1, volume_type="secret")
    assert dict(client.volumes.get_encryption_metadata(volume.id)) == {"encryption_key_id": None}
    client.quota_classes.update("default", volumes=7)
    assert client.quota_classes.get("default").volumes == client.quotas.defaults("p1").volumes == 7
    assert service.wait_status("volumes", volume.id) == "available"
    snapshot = client.volume_snapshots.create(volume.id)
    assert service.wait_status("snapshots", snapshot.id) == "available"
    with pytest.raises(BadRequest, match="its status is available"):
        client.volume_snapshots.update_snapshot_status(snapshot, {"status": "error"})
