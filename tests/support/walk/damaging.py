"""Damage behind the product's back: it is reported, and what is put right again is right."""

from typing import BinaryIO

from walk import check, choices
from walk.choices import action, place
from walk.world import Violation, World


@action(2, choices.free)
def damage(world: World, volume: int, where: int) -> str:
    """One byte of a volume whose digests are recorded: its comparison fails, and names the place."""
    target = choices.near(world, choices.free(world), volume, [each for each in world.volumes if each.recorded])
    if not target.recorded:
        check.verify_digests(world, target, record=True)
    offset, _ = place(target, where, where, 5)
    with world.path(target).open("r+b") as file:
        _flip(file, offset)
        world.client.act("volumes", target.id, "nbdsvc-verify", {"record": False})
        world.settle("volumes", target.id, "available")
        ended = world.client.operation_of(target.id)
        _flip(file, offset)
    said = str((ended["error"] or {}).get("message", ""))
    if ended["state"] == "succeeded" or f"at byte {offset // (4 << 20) * (4 << 20)}" not in said:
        raise Violation(f"byte {offset} of volume {target.id} is damaged, and its comparison says {said or 'nothing'}")
    check.verify_digests(world, target)
    return f"byte {offset} of {target.id}: {said}"


def _flip(file: BinaryIO, offset: int) -> None:
    file.seek(offset)
    byte = file.read(1)
    file.seek(offset)
    file.write(bytes([byte[0] ^ 1]))
    file.flush()
