"""What must be true of a fleet after a storm, once everything has come to rest."""

from typing import Any

from fleet import Fleet
from load import BLOCK, BLOCKS, Known, Owner, block_values
from mending import mend
from waiting import wait_until

from nbdsvc.model import states

SETTLED = frozenset("available in-use reserved attaching".split())
_MOVING = states.MIGRATION_IN_FLIGHT


def check(fleet: Fleet, owners: list[Owner]) -> str:
    """AssertionError for anything that is lost, doubled, stuck, left over or wrong; else a line of figures."""
    fleet.settle(90)
    wrong = [each for owner in owners for each in owner.wrong]
    assert not wrong, wrong
    mended = mend(fleet, owners)
    volumes, snapshots = fleet.rows("volumes"), fleet.rows("snapshots")
    assert {row["status"] for row in volumes + snapshots} <= SETTLED, _others(volumes + snapshots)
    moving = [row["id"] for row in volumes if row["migration_status"] in _MOVING]
    assert not moving, moving
    wait_until(lambda: not fleet.leftovers(), 30, fleet.leftovers)
    for owner in owners:
        mine = [{row["name"]: row for row in rows if _is_of(row, owner)} for rows in (volumes, snapshots)]
        _check_rows(owner.volumes, mine[0], owner)
        _check_rows(owner.snapshots, mine[1], owner)
        _check_bytes(fleet, owner, *mine)
        _check_quota(fleet, owner, *mine)
    return _figures(fleet, owners, len(volumes), len(snapshots)) + f"; {mended} put right after a loss"


def _others(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (row["id"], row["status"], row.get("os-vol-host-attr:host")) for row in rows if row["status"] not in SETTLED
    ]


def _is_of(row: dict[str, Any], owner: Owner) -> bool:
    return str(row["name"]).startswith(owner.project + "-")


def _check_rows(known: dict[str, Known], rows: dict[str, dict[str, Any]], owner: Owner) -> None:
    """What was confirmed is true, and everything has one row at most."""
    lost = [name for name, each in known.items() if each.made and not each.doomed and name not in rows]
    assert not lost, (owner.project, "lost", lost)
    undead = [name for name, each in known.items() if each.gone and name in rows]
    assert not undead, (owner.project, "there after its deletion", undead)
    assert set(rows) <= set(known), (owner.project, "never requested", set(rows) - set(known))
    sizes = {name: row["size"] for name, row in rows.items() if row["size"] not in known[name].sizes}
    assert not sizes, (owner.project, "sizes", sizes)


def _check_bytes(fleet: Fleet, owner: Owner, volumes: dict[str, Any], snapshots: dict[str, Any]) -> None:
    found = {f"volume-{row['id']}": (row["size"], owner.volumes[name]) for name, row in volumes.items()}
    found |= {f"_snapshot-{row['id']}": (row["size"], owner.snapshots[name]) for name, row in snapshots.items()}
    for name, (size, known) in found.items():
        (host,) = (host for host in fleet.hosts.values() if name in host.objects())
        values = block_values(host, name)
        wrong = [(at, value) for at, value in enumerate(values) if value not in known.values[at]]
        assert not wrong, (host.name, name, wrong, known)
        path = host.objects()[name]
        sizes = {each << 30 for each in known.sizes if each >= size} if known.is_mended else {size << 30}
        assert path.stat().st_size in sizes, (name, path.stat().st_size, size)
        with path.open("rb") as file:
            file.seek(BLOCK * BLOCKS)
            assert not any(file.read(BLOCK)), (name, "has bytes that were never written")


def _check_quota(fleet: Fleet, owner: Owner, volumes: dict[str, Any], snapshots: dict[str, Any]) -> None:
    used = fleet.client(owner.project).get("os-quota-sets", owner.project, usage="true")["quota_set"]
    rows = [*volumes.values(), *snapshots.values()]
    counted = (len(volumes), len(snapshots), sum(row["size"] for row in rows))
    assert tuple(used[each]["in_use"] for each in ("volumes", "snapshots", "gigabytes")) == counted, owner.project


def _figures(fleet: Fleet, owners: list[Owner], volumes: int, snapshots: int) -> str:
    client = fleet.client()
    done: list[dict[str, Any]] = []
    while page := client.get("operations", all_tenants=1, limit=500, offset=len(done))["operations"]:
        done += page
    for each in done:
        reason = str(each["error"])
        assert "database" not in reason, fleet.report([each])
    again = sum(1 for each in done if each["attempts"] > 1)
    failed = sum(1 for each in done if each["state"] not in ("succeeded", "cancelled"))
    sent = [(owner.counts.sent, owner.counts.done, owner.counts.refused, owner.counts.unavailable) for owner in owners]
    total = [sum(column) for column in zip(*sent, strict=True)]
    return (
        f"{len(done)} operations, {again} taken up again, {failed} failed; {volumes} volumes and {snapshots} snapshots "
        f"right in every byte; requests: {total[0]} deeds, {total[1]} done, {total[2]} refused, {total[3]} unavailable"
    )
