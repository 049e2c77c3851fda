"""Portals on all addresses of the storage host: what LIO tells an initiator in discovery, as the service requests it."""

import hashlib
import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from rig import machines
from rig.agent import Agent
from rig.install import MOUNT
from rig.iscsi import OpenIscsi
from rig.product import STATE, Initiator, Refused, Service

MIB = 1 << 20
ENFORCED = "/sys/kernel/config/target/iscsi/discovery_auth/enforce_discovery_auth"
_BRICK = (
    "import json, sys; from os_brick import privileged; from os_brick.initiator import connector;"
    " privileged.default.set_client_mode(False);"  # the process is root already
    " print(json.dumps(connector.get_connector_properties('', sys.argv[1], True, False)))"
)


def connector_of(agent: Agent, ip: str) -> dict[str, Any]:
    """The connector that os-brick makes on this host."""
    return dict(json.loads(agent.run("python3", "-c", _BRICK, ip, PYTHONPATH=f"{MOUNT}/site").out))


@pytest.mark.ci
@pytest.mark.row("S124", "S129", "S122")
def test_portals_on_all_addresses(make_iscsi: Callable[..., Service], agents: dict[str, Agent]) -> None:
    """An initiator gets the portal of the network that it is in, found by discovery, and logs in there. Its connector is
    os-brick's and is kept whole. Where discovery does not answer, the volume is named and nothing is left."""
    service = make_iscsi("0.0.0.0")
    one, volume, written = OpenIscsi(agents["hyper1"], service), service.volume(), os.urandom(MIB)
    for net in (1, 2):
        connector = connector_of(one.agent, machines.address("hyper1", net))
        attachment, info = one.reserve(volume, **connector)
        assert (info["target_discovered"], info["target_portal"]) == (True, f"{machines.address('storage', net)}:3260")
        assert (info["target_portals"], info["target_luns"]) == ([info["target_portal"]], [0])
        assert service.agent.python(_KEPT, database=f"{STATE}/nbdsvc.db", id=attachment) == {**connector, "mode": "rw"}
        device = one.login(info)
        if net == 1:
            Initiator(one.agent, service).write(device, 5 * MIB, written)
        assert Initiator(one.agent, service).digest(device, 5 * MIB, MIB) == hashlib.sha256(written).hexdigest()
        one.logout(info)
        service.delete("attachments", attachment)
    service.agent.shell(f"echo 1 > {ENFORCED}")
    try:
        with pytest.raises(Refused, match=r"field/attribute volume\..*discovery failed: .*refused with status 0x0201"):
            one.reserve(volume)
    finally:
        service.agent.shell(f"echo 0 > {ENFORCED}")
    for left in service.call("GET", "attachments")["attachments"]:
        service.delete("attachments", left["id"])
    service.delete("volumes", volume)


_KEPT = """
import json, sqlite3
def main(database, id):
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return json.loads(connection.execute("SELECT connector FROM attachments WHERE id = ?", [id]).fetchone()[0])
"""
