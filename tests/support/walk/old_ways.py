"""The older way to attach: reserve, initialize_connection, attach, detach, terminate_connection, each a request."""

from walk import check, choices
from walk.choices import action
from walk.disk import content
from walk.seasoning import SECTOR
from walk.world import Attached, Violation, World, connect, disconnect, local


@action(2, choices.free)
def attach_by_actions(world: World, volume: int, mode: int, how: int, end: int) -> str:
    """In each mode, one after the other; a reader may not write, and when it has ended nothing is served."""
    target = choices.near(world, choices.free(world), volume)
    act, said = world.client.act, []
    for number in range(2):
        wanted = "ro" if target.readonly or (mode + number) % 2 else "rw"
        act("volumes", target.id, "os-reserve")
        if how % 3 == 0:
            act("volumes", target.id, "os-unreserve")
            act("volumes", target.id, "os-reserve")
        connector = {**local(target), "mode": wanted}
        found = act("volumes", target.id, "os-initialize_connection", {"connector": connector})["connection_info"]
        uri = str((found.get("data") or found)["uri"])
        act("volumes", target.id, "os-attach", {"host_name": "me", "mountpoint": "/dev/vdb", "mode": wanted})
        attached = Attached("", uri, wanted == "rw", connect(uri))
        target.recorded = target.recorded and wanted == "ro"
        check.read_attached(target, attached)
        if attached.connection.is_read_only() != (wanted == "ro"):
            raise Violation(f"volume {target.id} is attached {wanted}, and served otherwise")
        if wanted == "rw":
            offset = (target.disk.bytes - SECTOR) * (how % 2)
            data = content(world.next_value(), offset, SECTOR)
            attached.connection.pwrite(data, offset)
            target.disk.write(offset, data)
        disconnect(attached.connection)
        requests = [("os-detach", {}), ("os-terminate_connection", {"connector": connector})]
        for name, body in requests if end % 2 else reversed(requests):
            act("volumes", target.id, name, body)
        world.settle("volumes", target.id, "available")
        said.append(wanted)
    return f"{target.id} {' and then '.join(said)}"
