"""QoS specs of the back end: exports keep to them, follow their changes, and what cannot keep to them is refused."""

import time
from collections.abc import Callable
from typing import Any

import nbd
import pytest
from asking import good, new_specs, new_type, new_volume, refused
from hypothesis import given
from hypothesis import strategies as st
from serving import ServiceProcess
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.exports.nbd.limiting import Limiting
from nbdsvc.model import qos

INITIATOR = "iqn.2026-11.org.example:me"
USER = {"instance_uuid": "00000000-0000-4000-8000-000000000000", "mountpoint": "/dev/vdb"}
BLOCK = 4096


def action(service: ServiceProcess, volume: str, name: str, **fields: Any) -> Any:
    return good(service, "POST", f"volumes/{volume}/action", {name: fields})


def attached(service: ServiceProcess, volume: str, **connector: str) -> tuple[str, dict[str, Any]]:
    """By a connection of its own: the attachment, and what its user gets."""
    given_ = {"host": "me", "ip": "127.0.0.1", **connector}
    body = {"attachment": {"volume_uuid": volume, "instance_uuid": USER["instance_uuid"], "connector": given_}}
    made = good(service, "POST", "attachments", body)["attachment"]
    good(service, "POST", f"attachments/{made['id']}/action", {"os-complete": {}})
    return str(made["id"]), made["connection_info"]


def limits_at(service: ServiceProcess, attachment: str) -> Callable[[], dict[str, int]]:
    """What the export's server says that it keeps its clients to."""
    limiting = Limiting()
    limiting._root = service.state / "exports"
    return lambda: dict(limiting.limits(attachment))


def wait_for(service: ServiceProcess, attachment: str, limits: dict[str, int]) -> None:
    wait_until(lambda: limits_at(service, attachment)() == limits, 60, limits_at(service, attachment))


def seconds_of(uri: str, count: int) -> float:
    client = nbd.NBD()
    client.connect_uri(uri)
    began = time.monotonic()
    for number in range(count):
        client.pread(BLOCK, number * BLOCK)
    return time.monotonic() - began


@pytest.mark.row("S029")
def test_a_volume_is_limited_from_its_first_request(shared_service: ServiceProcess) -> None:
    """Specs of the back end and of both; those of the front end are its user's alone. `QoS_support` of the pool is true."""
    service = shared_service
    for consumer, least, shown in (("back-end", 1.2, None), ("both", 1.2, {"read_iops_sec": "50"}),
                                  ("front-end", 0.0, {"read_iops_sec": "50"})):  # fmt: skip
        kind = new_type(service, consumer, new_specs(service, consumer, consumer=consumer, read_iops_sec=50))
        attachment, info = attached(service, new_volume(service, volume_type=kind))
        assert info["qos_specs"] == shown
        assert limits_at(service, attachment)() == ({"read_iops_sec": 50} if least else {})
        assert seconds_of(info["uri"], 70) >= least
    (pool,) = good(service, "GET", "scheduler-stats/get_pools?detail=true")["pools"]
    assert pool["capabilities"]["QoS_support"] is True


def test_exports_follow_specs_and_types(make_service: Any) -> None:
    """Set, unset, another consumer, given to a type and taken from it, deleted by force, a retype: each reaches the living
    export, long before the next look at exports.
    """
    service = make_service(repair_interval=600)
    specs, other = new_specs(service, "a", read_iops_sec=50), new_specs(service, "b", total_bytes_sec=7)
    kind, second = new_type(service, "one", specs), new_type(service, "two", other)
    volume = new_volume(service, volume_type=kind)
    attachment, _ = attached(service, volume)
    unlimited, _ = attached(service, new_volume(service))
    assert limits_at(service, attachment)() == {"read_iops_sec": 50}
    put = lambda **fields: good(service, "PUT", f"qos-specs/{specs}", {"qos_specs": fields})  # noqa: E731
    put(read_iops_sec=60, write_iops_sec=70, write_iops_sec_max=80)
    wait_for(service, attachment, {"read_iops_sec": 60, "write_iops_sec": 70, "write_iops_sec_max": 80})
    good(service, "PUT", f"qos-specs/{specs}/delete_keys", {"keys": ["write_iops_sec", "write_iops_sec_max"]})
    wait_for(service, attachment, {"read_iops_sec": 60})
    put(consumer="front-end")
    wait_for(service, attachment, {})
    put(consumer="back-end")
    wait_for(service, attachment, {"read_iops_sec": 60})
    good(service, "GET", f"qos-specs/{specs}/disassociate?vol_type_id={kind}")
    wait_for(service, attachment, {})
    good(service, "GET", f"qos-specs/{specs}/associate?vol_type_id={kind}")
    wait_for(service, attachment, {"read_iops_sec": 60})
    action(service, volume, "os-retype", new_type="two", migration_policy="never")
    wait_for(service, attachment, {"total_bytes_sec": 7})
    good(service, "GET", f"qos-specs/{other}/disassociate_all")
    wait_for(service, attachment, {})
    good(service, "GET", f"qos-specs/{other}/associate?vol_type_id={second}")
    wait_for(service, attachment, {"total_bytes_sec": 7})
    good(service, "DELETE", f"qos-specs/{other}?force=True")
    wait_for(service, attachment, {})
    assert limits_at(service, unlimited)() == {}


def test_a_rate_for_each_gib_grows_with_the_volume(make_service: Any) -> None:
    """An extension under a client: the limits are those of the new size. It succeeds also where the server does not take them."""
    service = make_service(repair_interval=600)
    specs = new_specs(service, "grows", read_iops_sec_per_gb=10, read_iops_sec_per_gb_min=25, read_iops_sec_max=35)
    volume = new_volume(service, volume_type=new_type(service, "grows", specs))
    attachment, _ = attached(service, volume)
    assert limits_at(service, attachment)() == {"read_iops_sec": 25, "read_iops_sec_max": 35}
    action(service, volume, "os-extend", new_size=3)
    wait_for(service, attachment, {"read_iops_sec": 30, "read_iops_sec_max": 35})
    assert service.wait_status("volumes", volume) == "in-use"
    action(service, volume, "os-extend", new_size=4)
    wait_for(service, attachment, {"read_iops_sec": 40})
    assert service.wait_status("volumes", volume) == "in-use"
    (service.state / "exports" / attachment / "ctl.sock").unlink()
    action(service, volume, "os-extend", new_size=5)
    assert service.wait_status("volumes", volume) == "in-use"


def test_a_killed_service_comes_back_to_what_the_rows_say(make_service: Any) -> None:
    """Killed before the operation has limited the export: the start does. A server that was killed, too, has the limits."""
    service = make_service()
    specs = new_specs(service, "k", read_iops_sec=50)
    volume = new_volume(service, volume_type=new_type(service, "k", specs))
    attachment, _ = attached(service, volume)
    service.crash_at("host.limit_exports", "before do", "limit")
    good(service, "PUT", f"qos-specs/{specs}", {"qos_specs": {"read_iops_sec": "60"}})
    assert service.wait_dead()
    assert limits_at(service, attachment)() == {"read_iops_sec": 50}
    service.start()
    wait_for(service, attachment, {"read_iops_sec": 60})
    process = service.state / "exports" / attachment / "process"
    before = process.read_text()
    service.backend.break_export(service.state, volume, attachment)()
    wait_until(lambda: process.exists() and process.read_text() != before)
    wait_until(lambda: _limits_if_up(service, attachment) == {"read_iops_sec": 60})


def _limits_if_up(service: ServiceProcess, attachment: str) -> dict[str, int] | None:
    """None of a server that is being started."""
    try:
        return limits_at(service, attachment)()
    except errors.ExportFailed:
        return None


def test_a_transport_that_keeps_no_limits_is_refused(make_service: Any) -> None:
    """iSCSI alone: no volume of the type, no retype to it; with a volume attached, no specs for its type. Nothing changes."""
    service = make_service(driver="memory", exporter="lio-memory", iscsi_portals="127.0.0.1:3264")
    specs = new_specs(service, "none", read_iops_sec=50)
    new_type(service, "limited", specs)
    plain = new_type(service, "plain")
    words = "cannot keep clients to"
    refused(service, 503, "No valid backend", "POST", "volumes", {"volume": {"size": 1, "volume_type": "limited"}})
    volume = new_volume(service, volume_type=plain)
    body = {"os-retype": {"new_type": "limited", "migration_policy": "never"}}
    refused(service, 400, words, "POST", f"volumes/{volume}/action", body)
    attachment, info = attached(service, volume, initiator=INITIATOR)
    assert info["driver_volume_type"] == "iscsi"
    refused(service, 400, words, "POST", f"volumes/{volume}/action", body)
    refused(service, 400, f"{volume} is attached by iscsi", "GET", f"qos-specs/{specs}/associate?vol_type_id={plain}")
    front = new_specs(service, "front", consumer="front-end", read_iops_sec=50)
    good(service, "GET", f"qos-specs/{front}/associate?vol_type_id={plain}")
    refused(service, 400, words, "PUT", f"qos-specs/{front}", {"qos_specs": {"consumer": "both"}})
    assert good(service, "GET", f"qos-specs/{front}")["qos_specs"]["consumer"] == "front-end"
    good(service, "DELETE", f"attachments/{attachment}")
    good(service, "PUT", f"qos-specs/{front}", {"qos_specs": {"consumer": "both"}})
    given_ = {"host": "me", "ip": "127.0.0.1", "initiator": INITIATOR}
    body = {"os-initialize_connection": {"connector": given_}}
    refused(service, 400, words, "POST", f"volumes/{volume}/action", body)
    (pool,) = good(service, "GET", "scheduler-stats/get_pools?detail=true")["pools"]
    assert pool["capabilities"]["QoS_support"] is False


def test_a_limited_volume_gets_the_transport_that_keeps_limits(make_service: Any) -> None:
    """Of a backend with iSCSI first and NBD second: NBD, also for an initiator of iSCSI; and none for a type of iSCSI alone."""
    service = make_service(
        backends="a = { driver = 'memory', exporters = ['lio-memory', 'nbd'] }", iscsi_portals="127.0.0.1:3265"
    )
    specs = new_specs(service, "x", read_iops_sec=50)
    volume = new_volume(service, volume_type=new_type(service, "limited", specs))
    _, info = attached(service, volume, initiator=INITIATOR)
    assert info["driver_volume_type"] == "nbd"
    new_type(service, "iscsi", specs, extra_specs={"storage_protocol": "iSCSI"})
    refused(service, 503, "No valid backend", "POST", "volumes", {"volume": {"size": 1, "volume_type": "iscsi"}})


KEYS = st.sampled_from([*sorted(qos.BACK_END_KEYS)])


@given(st.dictionaries(KEYS, st.integers(1, 50).map(str), max_size=6), st.integers(1, 100))
def test_what_is_accepted_is_what_exports_get(specs: dict[str, str], size: int) -> None:
    """Each rate that is accepted limits; its burst is never below it, and has a length of more than a second or none."""
    try:
        qos.check(qos.BACK_END, specs)
    except errors.InvalidInput:
        return
    limits = qos.limits(qos.BACK_END, specs, size)
    rates = {key.removesuffix("_per_gb") for key in specs if key.endswith(("_sec", "_per_gb"))} - {qos.OPERATION_SIZE}
    assert {key for key in limits if key.endswith("_sec")} - {qos.OPERATION_SIZE} == rates
    for rate in rates:
        assert limits.get(f"{rate}_max", limits[rate]) >= limits[rate]
        assert f"{rate}_max" in limits or f"{rate}_max_length" not in limits
    assert qos.limits(qos.FRONT_END, specs, size) == {}


@pytest.mark.parametrize(
    ("specs", "field", "reason"),
    [
        ({"read_iops_sec": "10", "read_iops_sec_max": "9"}, "read_iops_sec_max", "at least the rate, which is 10"),
        ({"read_iops_sec_max": "9"}, "read_iops_sec_max", "there is no read_iops_sec"),
        ({"read_iops_sec": "10", "read_iops_sec_max_length": "9"}, "read_iops_sec_max_length", "no read_iops_sec_max"),
        ({"read_iops_sec_per_gb_min": "10"}, "read_iops_sec_per_gb_min", "no read_iops_sec_per_gb"),
        ({"total_bytes_sec": "5", "size_iops_sec": "9"}, "size_iops_sec", "no limit of operations"),
        ({"total_bytes_sec": "5", "total_bytes_sec_max": "9" * 15, "total_bytes_sec_max_length": "2"},
         "total_bytes_sec_max_length", "is more than"),
        ({"read_iops_sec_per_gb": "1", "read_iops_sec_per_gb_min": "10", "read_iops_sec_max": "9"}, "read_iops_sec_max", "which is 10"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(specs: dict[str, str], field: str, reason: str) -> None:
    """As QEMU refuses it, with the key and the reason; specs of the front end may have anything."""
    with pytest.raises(errors.InvalidInput) as raised:
        qos.check(qos.BACK_END, specs)
    assert raised.value.field == field
    assert reason in str(raised.value)
    qos.check(qos.FRONT_END, specs)
