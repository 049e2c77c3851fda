"""What would become of a new volume: the decision on its pool, without the volume."""

from dataclasses import dataclass

from nbdsvc.app import App
from nbdsvc.backends import placement
from nbdsvc.backends.zones import choose_zone
from nbdsvc.model.context import Context
from nbdsvc.scheduler.candidate import Request
from nbdsvc.scheduler.decide import Decision
from nbdsvc.store import qos_specs
from nbdsvc.types.queries import usable_type
from nbdsvc.units import GiB


@dataclass(frozen=True)
class PlacementQuestion:
    """A volume that may be created. size: GiB. volume_type: name or id; None: the default one."""

    size: int
    volume_type: str | None = None
    availability_zone: str | None = None
    # Pools and backends to leave out: host, host@backend or host@backend#pool.
    without: tuple[str, ...] = ()


def explain_placement(app: App, context: Context, question: PlacementQuestion) -> Decision:
    """Decide as a creation would now, by the same filters and weighers. Raises NotFound (type), InvalidInput (zone)."""
    with app.database.read() as conn:
        volume_type = usable_type(app, conn, context, question.volume_type)
        zone = choose_zone(app, conn, question.availability_zone, volume_type)
        specs, excluded = volume_type.extra_specs, frozenset(question.without)
        limits = qos_specs.demands(conn, volume_type)
        wanted = Request(question.size * GiB, zone, specs, volume_type.multiattach, excluded, **limits)
        return placement.choose(app, conn, wanted)
