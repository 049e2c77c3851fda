"""Faults as actions, like a user's; most are injected during a write, which must still succeed, only later."""

import threading
import time
from collections.abc import Callable

from rig import install, machines
from rig.agent import HostFailed
from rig.machine import blocks
from rig.machine.actions import note, planned
from rig.machine.choices import Act, Needs, action, nothing, pick, taken, writable
from rig.machine.world import Violation, Volume, World
from rig.product import STATE, UNIT

FAULTS: set[str] = set()
# The second storage network; the rig itself uses the first.
NET = 2
LINK_SECONDS = 8


def fault(needs: Needs = nothing) -> Callable[[Act], Act]:
    """Registers an action that injects a fault."""

    def register(act: Act) -> Act:
        FAULTS.add(act.__name__)
        return action(needs)(act)

    return register


def under_writes(world: World, volume: Volume | None, slot: int, break_it: Callable[[], None]) -> str:
    """Call break_it while a host writes and flushes; then record the blocks as durable.

    Violation unless the writes are acknowledged in the end.
    """
    if volume is None or volume.read_only:
        break_it()
        return "at rest"
    plan = planned(world, volume, slot, 8)
    failed: list[HostFailed] = []

    def write() -> None:
        try:
            for each in plan:
                blocks.write(world.agents[str(volume.host)], volume.device, [each], flush=True)
        except HostFailed as error:
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    break_it()
    writer.join()
    if failed:
        raise Violation(f"a write to {volume.id} on {volume.host} failed: {failed[0]}")
    note(volume, plan, flushed=True)
    return f"while {len(plan)} blocks of {volume.id} were written"


def busy(world: World, number: int) -> Volume | None:
    """A volume that is attached for writing, by a drawn number; None where there is none."""
    found = writable(world)
    return found[number % len(found)] if found else None


@fault()
def kill_service(world: World, volume: int, slot: int) -> str:
    """Kill the service (SIGKILL) while a host writes."""

    def kill() -> None:
        world.storage.run("systemctl", "kill", "--signal=KILL", UNIT)

    return under_writes(world, busy(world, volume), slot, kill)


@fault(taken)
def kill_server(world: World, volume: int, slot: int) -> str:
    """Kill nbdkit of one attachment while a host writes."""
    target = pick(taken(world), volume)

    def kill() -> None:
        found = world.storage.shell(f"grep -l {target.id} {STATE}/exports/*/spec.json | head -1").strip()
        pid = world.storage.shell(f"cut -d' ' -f1 {found.rpartition('/')[0]}/process").strip()
        world.storage.run("kill", "-9", pid, check=False)

    return under_writes(world, target, slot, kill)


# Only with a writable volume: a cut costs a minute, and without a write it tests little.
@fault(writable)
def cut_storage(world: World, volume: int, slot: int, moment: int) -> str:
    """Cut the power of the storage host, and switch it on again."""

    def cut() -> None:
        time.sleep(moment % 20 / 10)
        machines.power_cut("storage")
        machines.power_on(world.storage)

    return under_writes(world, busy(world, volume), slot, cut)


@fault(writable)
def restart_storage(world: World, volume: int, slot: int) -> str:
    """Reboot the storage host, as its administrator would do it."""

    def restart() -> None:
        before = world.storage.shell("cat /proc/sys/kernel/random/boot_id")
        world.storage.start("systemctl", "reboot", log="/dev/null")
        end = time.monotonic() + 300
        while time.monotonic() < end:
            time.sleep(2)
            try:
                world.storage.reconnect()
                if world.storage.shell("cat /proc/sys/kernel/random/boot_id") != before:
                    return
            except HostFailed:
                continue
        raise Violation("the storage host does not come back from its restart")

    return under_writes(world, busy(world, volume), slot, restart)


@fault()
def cut_host(world: World, host: int) -> str:
    """A hypervisor host loses power for good; its volumes are detached by force, and another machine gets its name."""
    name = pick(world.hosts, host)
    machines.power_cut(name)
    lost = [volume for volume in taken(world) if volume.host == name]
    for volume in lost:
        for row in world.call("GET", f"attachments?volume_id={volume.id}")["attachments"]:
            world.call("DELETE", f"attachments/{row['id']}")
        world.settle("volumes", volume.id, "available")
        volume.host = None
        volume.disk.lose_cache()
    machines.power_on(world.agents[name])
    install.install(world.agents[name])
    world.transport.prepare(world.agents[name])
    return f"{name} with {len(lost)} volumes"


@fault(taken)
def cut_link(world: World, volume: int, slot: int) -> str:
    """A host's cable to the storage network is unplugged for some seconds."""
    target = pick(taken(world), volume)

    def unplug() -> None:
        machines.set_link(str(target.host), NET, "down")
        time.sleep(LINK_SECONDS)
        machines.set_link(str(target.host), NET, "up")

    return under_writes(world, target, slot, unplug)


@fault()
def jump_clock(world: World, hours: int) -> str:
    """Set the storage host's clock forwards or backwards."""
    world.storage.run("date", "-s", f"{'-' if hours % 2 else '+'}{1 + hours % 5} hours")
    return f"{world.storage.shell('date').strip()}"
