"""Names, descriptions and metadata, which are the rows' own; and that nothing else changes with them."""

from walk import choices
from walk.choices import action, pick
from walk.world import World


@action(1, choices.volumes)
def edit(world: World, volume: int, what: int) -> str:
    """A volume's name, its metadata, or whether it is bootable."""
    target, value = choices.near(world, choices.volumes(world), volume), str(world.next_value())
    what = what % 3
    if what == 0:
        world.client.put("volumes", target.id, body={"volume": {"name": f"v{value}"}})
        target.row["name"] = f"v{value}"
    elif what == 1:
        world.client.put("volumes", target.id, "metadata", body={"metadata": {"edited": value}})
        kept = {key: text for key, text in target.row["metadata"].items() if key == "readonly"}
        target.row["metadata"] = {"edited": value, **kept}
    else:
        target.row["bootable"] = "false" if target.row["bootable"] == "true" else "true"
        world.client.act("volumes", target.id, "os-set_bootable", {"bootable": target.row["bootable"]})
    return f"{['name', 'metadata', 'bootable'][what]} of {target.id}"


@action(1, choices.snapshots)
def edit_snapshot(world: World, number: int, what: int) -> str:
    """A snapshot's name, or its metadata."""
    target, value = pick(world.snapshots, number), str(world.next_value())
    if what % 2:
        world.client.put("snapshots", target.id, body={"snapshot": {"name": f"s{value}"}})
        target.name = f"s{value}"
    else:
        world.client.post("snapshots", target.id, "metadata", body={"metadata": {f"key{value}": value}})
        target.metadata = {**target.metadata, f"key{value}": value}
    return f"{'name' if what % 2 else 'metadata'} of {target.id}"
