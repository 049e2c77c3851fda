"""QoS specs: what is kept and refused, types that have them, and what users of a volume get of them."""

from typing import Any

import pytest
from asking import UNKNOWN, good, new_specs, new_type, new_volume, refused
from hypothesis import given
from hypothesis import strategies as st
from serving import ServiceProcess

from nbdsvc import errors
from nbdsvc.model import qos

CONNECT = {"os-initialize_connection": {"connector": {"host": "me", "ip": "127.0.0.1"}}}


def test_specs_are_kept_as_given(shared_service: ServiceProcess) -> None:
    """Created, shown, listed; keys set and removed, the consumer changed; the name is taken; deleted they are gone."""
    service = shared_service
    id = new_specs(
        service, "kept", consumer="back-end", read_iops_sec=500, write_iops_sec="200", **{"acme:tier": "gold"}
    )
    specs = {"read_iops_sec": "500", "write_iops_sec": "200", "acme:tier": "gold"}
    shown = good(service, "GET", f"qos-specs/{id}")
    assert shown["qos_specs"] == {"id": id, "name": "kept", "consumer": "back-end", "specs": specs}
    assert shown["qos_specs"] in good(service, "GET", "qos-specs")["qos_specs"]
    body = {"qos_specs": {"read_iops_sec": "600", "consumer": "both"}}
    assert good(service, "PUT", f"qos-specs/{id}", body) == body
    good(service, "PUT", f"qos-specs/{id}/delete_keys", {"keys": ["acme:tier"]})
    found = good(service, "GET", f"qos-specs/{id}")["qos_specs"]
    assert (found["consumer"], found["specs"]) == ("both", {"read_iops_sec": "600", "write_iops_sec": "200"})
    refused(service, 404, "acme:tier", "PUT", f"qos-specs/{id}/delete_keys", {"keys": ["read_iops_sec", "acme:tier"]})
    assert good(service, "GET", f"qos-specs/{id}")["qos_specs"] == found
    refused(service, 409, "exist already", "POST", "qos-specs", {"qos_specs": {"name": "kept"}})
    good(service, "DELETE", f"qos-specs/{id}")
    for method, path, body in (("GET", "", None), ("DELETE", "", None), ("PUT", "", {"qos_specs": {}}),
                               ("GET", "/associations", None), ("GET", "/disassociate_all", None),
                               ("GET", "/associate?vol_type_id=x", None)):  # fmt: skip
        refused(service, 404, "QoS specs", method, f"qos-specs/{id}{path}", body)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"consumer": "middle"}, "front-end, back-end, both"),
        ({"maxIOPS": "5"}, "no back end knows"),
        ({"consumer": "both", "read_iops_sec": "fast"}, "whole number"),
        ({"read_iops_sec": "0"}, "whole number"),
        ({"read_iops_sec": "-5"}, "whole number"),
        ({"read_bytes_sec": "9" * 20}, "whole number"),
        ({"total_iops_sec": "5", "read_iops_sec": "5"}, "give the sum of reads and writes"),
        ({"consumer": "front-end", "a\x07": "5"}, "pattern"),
        ({"consumer": "front-end", "a": None}, "string"),
        ({"name": ""}, "at least 1"),
    ],
)
def test_bad_specs_are_refused_by_name(shared_service: ServiceProcess, fields: dict[str, Any], reason: str) -> None:
    """A consumer that there is not, a key that no back end knows and a value that is no number: 400, and nothing is kept."""
    before = good(shared_service, "GET", "qos-specs")
    refused(shared_service, 400, reason, "POST", "qos-specs", {"qos_specs": {"name": "bad", **fields}})
    assert good(shared_service, "GET", "qos-specs") == before


def test_a_type_has_one_set_of_specs(shared_service: ServiceProcess) -> None:
    """Associated once, again without effect, never with others; specs in use are deleted by force only."""
    service = shared_service
    one, other = new_specs(service, "one"), new_specs(service, "other")
    types = [new_type(service, f"limited{number}") for number in range(2)]
    refused(service, 400, "vol_type_id", "GET", f"qos-specs/{one}/associate")
    refused(service, 404, "Volume type", "GET", f"qos-specs/{one}/associate?vol_type_id={UNKNOWN}")
    for _ in range(2):
        for kind in types:
            good(service, "GET", f"qos-specs/{one}/associate?vol_type_id={kind}")
    refused(service, 400, "already", "GET", f"qos-specs/{other}/associate?vol_type_id={types[0]}")
    assert good(service, "GET", f"types/{types[0]}")["volume_type"]["qos_specs_id"] == one
    shown = good(service, "GET", f"qos-specs/{one}/associations")["qos_associations"]
    assert {(row["association_type"], row["id"]) for row in shown} == {("volume_type", kind) for kind in types}
    refused(service, 400, "2 volume types", "DELETE", f"qos-specs/{one}?force=false")
    good(service, "GET", f"qos-specs/{one}/disassociate?vol_type_id={types[0]}")
    good(service, "GET", f"qos-specs/{other}/disassociate?vol_type_id={types[1]}")  # not associated: nothing happens
    assert good(service, "GET", f"types/{types[1]}")["volume_type"]["qos_specs_id"] == one
    good(service, "GET", f"qos-specs/{one}/disassociate_all")
    assert good(service, "GET", f"qos-specs/{one}/associations")["qos_associations"] == []
    good(service, "GET", f"qos-specs/{one}/associate?vol_type_id={types[0]}")
    good(service, "DELETE", f"qos-specs/{one}?force=True")
    assert good(service, "GET", f"types/{types[0]}")["volume_type"]["qos_specs_id"] is None


@pytest.mark.row("S029")
def test_the_front_end_gets_its_limits(shared_service: ServiceProcess) -> None:
    """connection_info has the specs of front-end and both, rates by the GiB as rates of this volume; of back-end nothing.

    While the volume is in use, no retype changes them.
    """
    service = shared_service
    fields = {"consumer": "front-end", "read_iops_sec_per_gb": "10", "write_iops_sec_per_gb": "10",
              "write_iops_sec_per_gb_min": "100", "other": "x"}  # fmt: skip
    expected = {
        "front-end": {"read_iops_sec": "20", "write_iops_sec": "100", "other": "x"},
        "both": {"total_bytes_sec": "1000"},
        "back-end": None,
    }
    front = new_specs(service, "front", **fields)
    both, back = (new_specs(service, name, consumer=name, total_bytes_sec="1000") for name in ("both", "back-end"))
    for name, specs in (("front-end", front), ("both", both), ("back-end", back)):
        kind = new_type(service, f"type {name}")
        good(service, "GET", f"qos-specs/{specs}/associate?vol_type_id={kind}")
        volume = new_volume(service, volume_type=kind, size=2)
        info = good(service, "POST", f"volumes/{volume}/action", CONNECT)["connection_info"]["data"]
        assert info["qos_specs"] == expected[name]
        user = {"instance_uuid": UNKNOWN, "mountpoint": "/dev/vdb"}
        good(service, "POST", f"volumes/{volume}/action", {"os-attach": user})
        body = {"os-retype": {"new_type": "__DEFAULT__"}}
        if name == "back-end":
            good(service, "POST", f"volumes/{volume}/action", body)
        else:
            refused(service, 400, "QoS specs", "POST", f"volumes/{volume}/action", body)


@pytest.mark.row("S078")
def test_expressions_see_the_limits(make_service: Any) -> None:
    """A filter function may ask for `qos`: of two types the pool takes volumes of the one that it can serve."""
    service = make_service(driver="memory", filter_function="qos.total_iops_sec < 1000 or volume.size < 2")
    for name, rate in (("slow", 500), ("fast", 5000)):
        kind, specs = new_type(service, name), new_specs(service, name, total_iops_sec=rate)
        good(service, "GET", f"qos-specs/{specs}/associate?vol_type_id={kind}")
    assert new_volume(service, volume_type="slow", size=2)
    refused(service, 503, "No valid backend", "POST", "volumes", {"volume": {"size": 2, "volume_type": "fast"}})


@given(st.dictionaries(st.sampled_from([*sorted(qos.BACK_END_KEYS), "vendor:x", "other"]), st.text(max_size=20)))
def test_specs_are_checked_whatever_they_are(specs: dict[str, str]) -> None:
    """Either all of them are kept, and give a volume of any size its limits, or the key that is wrong is named."""
    qos.check(qos.FRONT_END, specs)
    try:
        qos.check(qos.BACK_END, specs)
    except errors.InvalidInput as error:
        assert error.field in specs
    limits = qos.for_size(specs, 3)
    assert not any(key.endswith(("_per_gb", "_per_gb_min")) for key in limits)
    assert set(limits) <= {key.removesuffix("_per_gb") for key in specs}
