"""What the loss of a host leaves in an error, put right as an administrator does it. Any other error is a fault of the product."""

from typing import Any

from fleet import Fleet
from load import Known, Owner

# What the reason of an operation says that ended with its host.
LOST = "declared lost"


def mend(fleet: Fleet, owners: list[Owner]) -> int:
    """How much was put right. AssertionError for an error that no loss of a host explains."""
    known = {name: each for owner in owners for name, each in (owner.volumes | owner.snapshots).items()}
    failed = {noun: [row for row in fleet.rows(noun) if "error" in row["status"]] for noun in ("snapshots", "volumes")}
    for noun, rows in failed.items():
        for row in rows:
            _mend(fleet, noun, row, known[row["name"]])
    fleet.settle(90)
    return sum(map(len, failed.values()))


def _mend(fleet: Fleet, noun: str, row: dict[str, Any], known: Known) -> None:
    client, id = fleet.client(), str(row["id"])
    done = client.get("operations", all_tenants=1, resource_id=id)["operations"]
    lost = [each for each in done if LOST in str(each["error"])]
    assert lost, (noun, row["status"], row["name"], fleet.report(done))
    if row["status"] in ("error", "error_deleting") and not any(_has_made(each) for each in done):
        known.doomed = True
        client.act(noun, id, "os-force_delete")
        return
    known.is_mended = True
    client.act(noun, id, "os-reset_status", {"status": "available"})


def _has_made(operation: dict[str, Any]) -> bool:
    """Whether it made the volume or the snapshot, which is whole since then."""
    return operation["kind"].endswith(".create") and operation["state"] == "succeeded"
