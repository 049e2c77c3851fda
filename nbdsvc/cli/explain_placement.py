"""`nbdsvc explain-placement`"""

import click

from nbdsvc.cli import show
from nbdsvc.cli.client import Client
from nbdsvc.cli.parameter_types import SIZE


@click.command("explain-placement")
@click.argument("size", type=SIZE)
@click.option("--type", "volume_type", help="Name or id of the volume type.")
@click.option("--zone", "availability_zone", help="Availability zone of the volume.")
@click.option("--without", multiple=True, help="A pool, backend or host to leave out; may be repeated.")
@show.json_option
def explain_placement(
    size: int, volume_type: str | None, availability_zone: str | None, without: tuple[str, ...], as_json: bool
) -> None:
    """Show where a new volume of SIZE GiB would go, and why not elsewhere: each pool, best first."""
    found = Client().get(
        "scheduler-stats",
        "placement",
        size=size,
        volume_type=volume_type,
        availability_zone=availability_zone,
        without=",".join(without) or None,
    )
    pools = found["placement"]["pools"]
    show.rows(pools, ("name", "passes", "weight", "free_capacity_gb", "filter", "reason"), as_json)
