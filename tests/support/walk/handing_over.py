"""Transfers: a volume goes to another project by a key and comes back; meanwhile it is that project's alone."""

from walk import choices
from walk.choices import action
from walk.world import Violation, World


@action(1, choices.without_snapshots)
def hand_over(world: World, volume: int) -> str:
    target = choices.near(world, choices.without_snapshots(world), volume)
    for giver, taker in (("p1", "p2"), ("p2", "p1")):
        body = {"transfer": {"volume_id": target.id, "name": "over"}}
        offered = world.service.client(giver).post("volume-transfers", body=body)["transfer"]
        accept = {"accept": {"auth_key": offered["auth_key"]}}
        world.service.client(taker).post("volume-transfers", offered["id"], "accept", body=accept)
        world.settle("volumes", target.id, "available")
        if target.id in [each["id"] for each in world.service.client(giver).get("volumes")["volumes"]]:
            raise Violation(f"volume {target.id} is handed over to {taker}, and {giver} has it")
    return target.id
