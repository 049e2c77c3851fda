"""Encrypted volume types: what is kept and answered, and that no volume of one is made in the clear."""

from typing import Any

import pytest
from asking import UNKNOWN, good, new_type, new_volume, refused
from serving import ServiceProcess

LUKS = {"provider": "luks", "cipher": "aes-xts-plain64", "key_size": 256, "control_location": "front-end"}


def test_the_encryption_of_a_type_is_kept(shared_service: ServiceProcess) -> None:
    """Created, shown with each field, changed, deleted; twice, of no type and of the default type it is refused."""
    service = shared_service
    kind = new_type(service, "kept")
    path = f"types/{kind}/encryption"
    assert good(service, "GET", path) == {}
    for method, body in (("PUT", {"encryption": {"cipher": "x"}}), ("DELETE", None)):
        refused(service, 404, "Encryption", method, f"{path}/provider", body)
    made = good(service, "POST", path, {"encryption": LUKS})["encryption"]
    assert made == {**LUKS, "volume_type_id": kind, "encryption_id": made["encryption_id"]}
    refused(service, 400, "encrypted already", "POST", path, {"encryption": LUKS})
    shown = good(service, "GET", path)
    assert shown == {
        **made,
        "created_at": shown["created_at"],
        "updated_at": None,
        "deleted": False,
        "deleted_at": None,
    }
    assert good(service, "GET", f"{path}/cipher") == {"cipher": "aes-xts-plain64"}
    refused(service, 404, "nothing", "GET", f"{path}/nothing")
    changes = {"encryption": {"key_size": 512, "cipher": None}}
    assert good(service, "PUT", f"{path}/{made['encryption_id']}", changes) == changes
    shown = good(service, "GET", path)
    assert (shown["key_size"], shown["cipher"], shown["provider"]) == (512, None, "luks")
    good(service, "DELETE", f"{path}/provider")
    assert good(service, "GET", path) == {}
    refused(service, 404, "Volume type", "POST", f"types/{UNKNOWN}/encryption", {"encryption": LUKS})


def test_the_default_type_stays_in_the_clear(service: ServiceProcess) -> None:
    """Or every volume without a type would be refused."""
    default = good(service, "GET", "types/default")["volume_type"]["id"]
    refused(service, 400, "default type", "POST", f"types/{default}/encryption", {"encryption": LUKS})


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "provider"),
        ({**LUKS, "key_size": "long"}, "key_size"),
        ({**LUKS, "key_size": -1}, "key_size"),
        ({**LUKS, "control_location": "middle"}, "control_location"),
        ({**LUKS, "more": 1}, "more"),
    ],
)
def test_bad_encryption_is_refused_by_name(shared_service: ServiceProcess, fields: dict[str, Any], field: str) -> None:
    """400 with the field that is wrong."""
    kind = good(shared_service, "GET", "types/default")["volume_type"]["id"]
    refused(shared_service, 400, field, "POST", f"types/{kind}/encryption", {"encryption": fields})


def test_no_volume_of_an_encrypted_type_is_made(shared_service: ServiceProcess) -> None:
    """Created, cloned, from a snapshot, managed and retyped to it: 400 with the reason, and no row and no quota is left."""
    service = shared_service
    kind, plain = new_type(service, "encrypted"), new_type(service, "plain")
    good(service, "POST", f"types/{kind}/encryption", {"encryption": LUKS})
    source = new_volume(service)
    snapshot = good(service, "POST", "snapshots", {"snapshot": {"volume_id": source}})["snapshot"]["id"]
    assert service.wait_status("snapshots", snapshot) == "available"
    before = good(service, "GET", "volumes")["volumes"]
    reason = "which this service cannot do yet"
    for fields in ({"size": 1}, {"source_volid": source}, {"snapshot_id": snapshot}):
        refused(service, 400, reason, "POST", "volumes", {"volume": {"volume_type": kind, **fields}})
    pool = good(service, "GET", "scheduler-stats/get_pools")["pools"][0]["name"]
    fields = {"host": pool, "ref": {"source-name": "x"}, "volume_type": kind}
    refused(service, 400, reason, "POST", "manageable_volumes", {"volume": fields})
    refused(service, 400, reason, "POST", f"volumes/{source}/action", {"os-retype": {"new_type": kind}})
    assert good(service, "GET", "volumes")["volumes"] == before
    # Nor does a type with volumes become one: they are in the clear.
    new_volume(service, volume_type=plain)
    refused(service, 400, "1 volumes have this type", "POST", f"types/{plain}/encryption", {"encryption": LUKS})


def test_a_hypervisor_reads_that_a_volume_is_in_the_clear(shared_service: ServiceProcess) -> None:
    """GET volumes/ID/encryption has no key; another project's volume, and another field, are not found."""
    volume = new_volume(shared_service)
    assert good(shared_service, "GET", f"volumes/{volume}/encryption") == {"encryption_key_id": None}
    assert good(shared_service, "GET", f"volumes/{volume}/encryption/encryption_key_id") == {"encryption_key_id": None}
    refused(shared_service, 404, "cipher", "GET", f"volumes/{volume}/encryption/cipher")
    refused(shared_service, 404, "Volume", "GET", f"volumes/{UNKNOWN}/encryption")
