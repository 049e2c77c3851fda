"""A service, hosts and disks in memory, with a planted bug if requested, by which the machine itself is tested.

A hunt on real hosts takes minutes for one seed. Here it takes a tenth of a second, so that a test can check after how
many steps the machine finds each bug, and that it finds none without a bug. Faults are not simulated.
"""

import re
from typing import Any

from rig import fleet
from rig.agent import Agent, Done, HostFailed
from rig.machine.faults import FAULTS
from rig.machine.run import Lab
from rig.machine.simulated_pool import Lv, Pool
from rig.machine.world import BACKENDS, Transport, World
from rig.product import Refused, Service

HOSTS = ("storage", "hyper1", "hyper2")


class SimulatedService(Service):
    """The part of the API that actions and invariants use."""

    def __init__(self, agent: Agent, pool: Pool) -> None:
        super().__init__(agent)
        self._pool = pool

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request, see Service.call. Refused where the pool refuses it."""
        noun, _, id = path.partition("?")[0].partition("/")
        if noun == "os-quota-sets":
            return {"quota_set": self._usage()}
        if noun == "os-services":
            return self._pool.administer(id)
        if id == "detail":
            return {noun: [_row(id, lv) for id, lv in self._pool.of(noun).items()]}
        if self._pool.frozen and method != "GET":
            raise Refused(400, "Invalid input: the backend is frozen")
        return {"POST": self._post, "GET": self._get, "DELETE": self._delete}[method](noun, id, body)

    def staying(self) -> list[str]:
        """No files: a simulated operation has none."""
        return []

    def _post(self, noun: str, id: str, body: Any) -> Any:
        [(name, value)] = body.items()
        if id:
            return self._pool.act(id.partition("/")[0], name, value)
        made = self._pool.create(value) if noun == "volumes" else self._pool.snapshot(value)
        return {name: {"id": self._pool.make(made)}}

    def _get(self, noun: str, id: str, _body: Any) -> Any:
        if id not in self._pool.lvs:
            raise Refused(404, "not found")
        return {noun[:-1]: _row(id, self._pool.lvs[id])}

    def _delete(self, noun: str, id: str, _body: Any) -> None:
        self._pool.delete(noun, id)

    def _usage(self) -> dict[str, dict[str, int]]:
        counted = {noun: len(self._pool.of(noun)) for noun in ("volumes", "snapshots")}
        counted["gigabytes"] = sum(lv.size for lv in self._pool.lvs.values())
        counted["snapshots"] += self._pool.bug == "quotas count deleted snapshots"
        return {key: {"in_use": value, "reserved": 0} for key, value in counted.items()}


def _row(id: str, lv: Lv) -> dict[str, Any]:
    place = {"os-vol-host-attr:host": f"storage@{lv.backend}#{lv.backend}", "volume_type": lv.type}
    return {"id": id, "size": lv.size, "status": lv.status, "migration_status": lv.migration, **place}


class SimulatedAgent(Agent):
    """A host: it runs the commands of actions and invariants, and no others."""

    def __init__(self, name: str, pool: Pool) -> None:
        self.host = fleet.Host(name, "", "")
        self._pool = pool

    def run(self, *argv: str, timeout: float = 60, check: bool = True, given: str = "", **env: str) -> Done:
        """The commands of the actions and invariants. HostFailed for any other command."""
        match argv:
            case ("blockdev", "--getsize64", device):
                return Done(0, str(self._lv(device).shown << 30), "")
            case ("blkdiscard", "-f", "-z", "-o", place, "-l", _, device):
                self._lv(device).blocks.pop(int(place), None)
            case ("blockdev", "--flushbufs", _) | ("systemctl", "kill", _, _):
                pass
            case ("sh", "-ec", script) if script.startswith("lvs"):
                return Done(0, self._listed(script), "")
            case ("sh", "-ec", script) if "blockdev --getsize64" in script:
                self._wait_for_size(script)
            case _:
                raise HostFailed(f"not simulated: {argv}")
        return Done(0, "", "")

    def python(self, source: str, timeout: float = 120, **args: Any) -> Any:
        """blocks.write and blocks.read, by their arguments. HostFailed for a write to a read-only device."""
        lv = self._lv(args["device"])
        if "places" in args:
            return [lv.blocks.get(place, bytes(16).hex()) for place in args["places"]]
        if lv.read_only:
            raise HostFailed("Operation not permitted")
        lv.blocks.update(args["plan"])
        return None

    def _wait_for_size(self, script: str) -> None:
        """The wait of actions.extend: HostFailed unless the device has the size already."""
        found = re.search(r"getsize64 (\S+)\) = (\d+)", script)
        if not found or self._lv(found[1]).shown << 30 != int(found[2]):
            raise HostFailed("waited in vain")

    def _lv(self, device: str) -> Lv:
        return self._pool.lvs[device.removeprefix("/dev/")]

    def _listed(self, script: str) -> str:
        """`lvs` of a group, with tags or without."""
        here = {id: lv for id, lv in self._pool.lvs.items() if lv.there and script.endswith(BACKENDS[lv.backend])}
        names = {("_snapshot-" if lv.of else "volume-") + id: lv for id, lv in here.items()}
        tags = "lv_tags" in script
        return "".join(f"{name} {'nbdsvc' * lv.marked if tags else ''}\n" for name, lv in names.items())


class SimulatedTransport:
    """Devices with the names of their volumes."""

    name, mirrors = "simulated", True
    without = frozenset(FAULTS)

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def settings(self, address: str) -> dict[str, str]:
        """No settings: the service is simulated."""
        return {}

    def prepare(self, agent: Agent) -> None: ...

    def clear(self, agent: Agent) -> None: ...

    def attach(self, world: World, host: str, volume: str, mode: str) -> str:
        """The device. Refused where the volume is attached already."""
        self._pool.attach(volume, host, read_only=mode == "ro")
        return f"/dev/{volume}"

    def detach(self, world: World, host: str, volume: str, *, lost: bool = False) -> None:
        """Detach the volume; `lost` changes nothing, because no flush fails here."""
        self._pool.detach(volume)

    def grow(self, world: World, host: str) -> None:
        """Show each host the present sizes of its volumes."""
        for lv in self._pool.lvs.values():
            lv.shown = lv.shown if self._pool.bug == "a device does not grow" else lv.size

    def wrong_exports(self, world: World) -> list[str]:
        """Volumes that only the model, or only the pool, has as attached."""
        desired = {volume.id for volume in world.volumes if volume.host}
        return [f"export {id}" for id in desired ^ {id for id, lv in self._pool.lvs.items() if lv.host}]

    def devices(self, agent: Agent) -> set[str]:
        """The devices of the volumes that are attached to this host."""
        return {f"/dev/{id}" for id, lv in self._pool.lvs.items() if lv.host == agent.host.name}


class SimulatedWorld(World):
    """A world whose hosts and service use one simulated pool."""

    def __init__(self, pool: Pool) -> None:
        agents: dict[str, Agent] = {name: SimulatedAgent(name, pool) for name in HOSTS}
        super().__init__(agents, SimulatedTransport(pool), {}, list(HOSTS[1:]))
        self.service = SimulatedService(self.storage, pool)


class SimulatedLab(Lab):
    """A lab whose one world is simulated."""

    def __init__(self, bug: str, weights: dict[str, int]) -> None:
        self.simulated = SimulatedWorld(Pool(bug))
        super().__init__(self.simulated.agents, "simulated", {}, weights=weights)

    @property
    def transport(self) -> Transport:
        """The transport of the one world."""
        return self.simulated.transport

    def world(self) -> World:
        """The one world, again at each call."""
        return self.simulated
