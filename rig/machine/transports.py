"""The transports of the machine's hosts, and their leftovers: NBD by the product, iSCSI by open-iscsi."""

from collections.abc import Mapping

from rig import iscsi
from rig.agent import Agent, HostFailed
from rig.machine.world import Transport, World
from rig.product import Initiator, disconnect_all

# A script that prints one line for each target of LIO: its name and the initiators that have access.
_TARGETS = (
    "cd /sys/kernel/config/target/iscsi 2> /dev/null || exit 0;"
    " for each in iqn.*; do [ ! -d $each ] || echo $each $(ls $each/tpgt_1/acls 2> /dev/null); done"
)


class Nbd:
    """`nbdsvc attach` with the kernel's NBD client."""

    name, mirrors = "nbd", True
    without: frozenset[str] = frozenset()

    def settings(self, address: str) -> dict[str, str]:
        """Exports on the second network, without TLS, which the kernel's client cannot do."""
        return {"NBD_LISTEN": address, "NBD_TLS": "false"}

    def prepare(self, agent: Agent) -> None:
        """Do nothing: `nbdsvc attach` starts the processes that it needs."""

    def clear(self, agent: Agent) -> None:
        """Disconnect every device of the product. HostFailed where one cannot be disconnected."""
        disconnect_all(agent)

    def attach(self, world: World, host: str, volume: str, mode: str) -> str:
        """Attach by `nbdsvc attach`; the device. HostFailed where that fails."""
        options = ["--read-only"] if mode == "ro" else []
        return Initiator(world.agents[host], world.service).attach(volume, *options)

    def detach(self, world: World, host: str, volume: str, *, lost: bool = False) -> None:
        """Detach by `nbdsvc detach`, by force after a lost write. HostFailed where that fails."""
        Initiator(world.agents[host], world.service).detach(volume, *(["--force"] if lost else []))

    def grow(self, world: World, host: str) -> None:
        """Do nothing: the host's agent resizes devices every few seconds."""

    def wrong_exports(self, world: World) -> list[str]:
        """Attachments without a server, and servers without an attachment."""
        owned = {row["id"] for row in world.call("GET", "attachments?limit=500")["attachments"]}
        listed = world.storage.shell("systemctl list-units --plain --no-legend 'nbdsvc-export-*' | cut -d' ' -f1")
        running = {unit.removeprefix("nbdsvc-export-").removesuffix(".scope") for unit in listed.split()}
        return [f"export {id}" for id in owned ^ running]

    def devices(self, agent: Agent) -> set[str]:
        """The connected devices of the kernel's NBD client."""
        return set(agent.shell("for d in /sys/block/nbd*; do [ ! -e $d/pid ] || echo /dev/${d##*/}; done").split())


class Iscsi:
    """The attachments API and iscsiadm, as a foreign initiator. One portal, and sessions that wait for their target."""

    name, mirrors = "iscsi", False
    # An iSCSI target has no server process.
    without = frozenset({"kill_server"})

    def settings(self, address: str) -> dict[str, str]:
        """Targets on the second network, by LIO."""
        return {"ISCSI_PORTALS": address}

    def prepare(self, agent: Agent) -> None:
        """Start open-iscsi without records of former targets. HostFailed where a daemon fails."""
        agent.shell("rm -rf /etc/iscsi/nodes/*")
        iscsi.start_initiator(agent)

    def clear(self, agent: Agent) -> None:
        """End the sessions, and remove everything from LIO. HostFailed where something is in use."""
        iscsi.stop_initiator(agent)
        iscsi.clear(agent)

    def attach(self, world: World, host: str, volume: str, mode: str) -> str:
        """Attach; the device. After a failed login the attachment is deleted, as in Nova. Refused or HostFailed."""
        one = iscsi.OpenIscsi(world.agents[host], world.service)
        body = {"volume_uuid": volume, "instance_uuid": None, "mode": mode, "connector": one.connector(mode=mode)}
        made = world.call("POST", "attachments", {"attachment": body})["attachment"]
        try:
            device = one.login(made["connection_info"], patience=iscsi.PATIENT)
        except HostFailed:
            world.call("DELETE", f"attachments/{made['id']}")
            raise
        world.act("attachments", made["id"], "os-complete")
        return device

    def detach(self, world: World, host: str, volume: str, *, lost: bool = False) -> None:
        """Log out and delete the attachment; `lost` changes nothing, because LIO does not record lost writes."""
        found = world.call("GET", f"attachments?volume_id={volume}")["attachments"][0]["id"]
        info = world.call("GET", f"attachments/{found}")["attachment"]["connection_info"]
        iscsi.OpenIscsi(world.agents[host], world.service).logout(info)
        world.call("DELETE", f"attachments/{found}")

    def grow(self, world: World, host: str) -> None:
        """Let the sessions scan their disks again."""
        world.agents[host].run("iscsiadm", "-m", "session", "--rescan", check=False)

    def wrong_exports(self, world: World) -> list[str]:
        """Faults: an attached volume has one target with one backstore, to which only the volume's host has access."""
        names = {host: iscsi.OpenIscsi(world.agents[host], world.service).name for host in world.hosts}
        desired = {volume.id: names[volume.host] for volume in world.volumes if volume.host}
        lines = [line.split() for line in world.storage.shell(_TARGETS).splitlines()]
        found = {iqn.partition("volume-")[2]: " ".join(initiators) for iqn, *initiators in lines}
        wrong = [
            f"target of {id} for {found.get(id)!r}, desired for {desired.get(id)!r}"
            for id in _differing(desired, found)
        ]
        there = iscsi.configured(world.storage)
        return wrong + [f"LIO's {name}" for name in there if not any(id in name for id in desired)]

    def devices(self, agent: Agent) -> set[str]:
        """The disks of LIO's targets."""
        return set(agent.shell("lsblk -dnpo VENDOR,NAME | awk '$1 == \"LIO-ORG\" { print $2 }'").split())


def _differing(desired: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    return [id for id in {*desired, *found} if desired.get(id) != found.get(id)]


TRANSPORTS: dict[str, Transport] = {"nbd": Nbd(), "iscsi": Iscsi()}
