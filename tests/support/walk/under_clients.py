"""Volumes that move while a client reads and writes: it keeps its connection, and what it was answered is there afterwards."""

import random

from nbdsvc.exports.nbd import processes
from nbdsvc.model import states
from walk import check, choices
from walk.choices import action, pick
from walk.disk import BLOCK, content
from walk.moving import destination, is_allowed, moved, refused
from walk.world import Attached, Violation, Volume, World

# Requests of a client between two looks at the migration, and looks at most: then nothing more is requested until its end.
REQUESTS, ROUNDS = 6, 60
_MOVING = states.MIGRATION_IN_FLIGHT
LENGTHS = (512, BLOCK, BLOCK + 512, 65536)


def movable(world: World) -> list[Volume]:
    """In use, and nothing of it would stay behind."""
    return [each for each in choices.taken(world) if not choices.snapshots_of(world, each)]


@action(2, movable)
def migrate_in_use(world: World, volume: int, pool: int, event: int, seed: int) -> str:
    """Within its host; refused to another one, against its type, and for several attachments. Meanwhile the service may die, or
    the server of the export, which comes back at either place."""
    target = choices.near(world, movable(world), volume, choices.loose(world))
    store, folder = destination(world, target, pool)
    body = {"host": store.pool(folder), "lock_volume": seed % 2 == 0}
    if not is_allowed(target, store) or store.host != target.store.host or len(target.attached) != 1:
        return refused(world, target, body, "in use as it is")
    (attached,) = target.attached.values()
    event_name = pick(["nothing", "nothing", "kill", "server dies"], event)
    world.client.act("volumes", target.id, "os-migrate_volume", body)
    drawn = random.Random(seed)
    world.between()
    _go_through(world, target, attached, event_name, drawn)
    row = moved(world, target, "os-vol-host-attr:host", str(body["host"]))
    _use(world, target, attached, drawn)
    check.read_attached(target, attached)
    return f"{target.id} to {body['host']}, {event_name}: it is at {row['os-vol-host-attr:host']}"


def _go_through(world: World, target: Volume, attached: Attached, event: str, drawn: random.Random) -> None:
    """Requests until the migration has ended, and in the middle of them what happens."""
    moment = drawn.randrange(4)
    for number in range(ROUNDS):
        _use(world, target, attached, drawn)
        if number == moment:
            _happen(world, target, attached, event)
        if world.client.get("volumes", target.id)["volume"]["migration_status"] not in _MOVING:
            return


def _happen(world: World, target: Volume, attached: Attached, event: str) -> None:
    if event == "kill":
        world.restart()
    elif event == "server dies":
        processes.end(world.state(target.store) / "exports", attached.id)
        world.reconnect(target)
        world.cancelled = True  # between the end of the copy and the switch its death ends the migration


def _use(world: World, target: Volume, attached: Attached, drawn: random.Random) -> None:
    """At few places, so that the volume stays quick to compare: either end, what was written, and somewhere. Each answer is
    read back through the same connection.
    """
    for _ in range(REQUESTS):
        length = drawn.choice(LENGTHS)
        written = [number * BLOCK for number in list(target.disk.blocks)[:8]]
        places = [0, target.disk.bytes - length, target.disk.bytes // 3 + 512 * drawn.randrange(64), *written]
        offset = min(drawn.choice(places), target.disk.bytes - length)
        if attached.writes:
            _change(world, target, attached, offset, length, drawn.random() < 0.8)
        if text := target.disk.wrong(offset, bytes(attached.connection.pread(length, offset))):
            raise Violation(f"volume {target.id}, read by its client: {text}")


def _change(world: World, target: Volume, attached: Attached, offset: int, length: int, writes: bool) -> None:
    if writes:
        data = content(world.next_value(), offset, length)
        attached.connection.pwrite(data, offset)
        target.disk.write(offset, data)
    else:
        attached.connection.zero(length, offset)
        target.disk.zero(offset, length)
