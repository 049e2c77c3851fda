"""Planted differences of hosts, backends, pools, operations, files and quotas."""

from dataclasses import replace
from datetime import timedelta

from planting import Planted
from plants import case

from nbdsvc.datapath.digests import Digests
from nbdsvc.model import clock, names
from nbdsvc.model.operation import Operation
from nbdsvc.store import claims, repositories
from nbdsvc.store import operations as journal
from nbdsvc.units import GiB

# Hosts, backends, pools


@case("backend.broken")
def _pool_folder_gone(w: Planted) -> str:
    w.attach(w.volume("one"))
    (w.state / "c").rename(w.state / "away")
    return "me@one"


@case("backend.silent")
def _backend_hangs(w: Planted) -> str:
    w.app.last_heartbeat["me@one"] -= 1e6
    return "me@one"


def backend_row(w: Planted, host: str, name: str, age: float = 0) -> None:
    at = clock.now() - timedelta(seconds=age)
    with w.app.database.write() as conn:
        row = next(each for each in repositories.backends.select(conn) if each.name == "one")
        made = replace(row, id=names.new_id(), host=host, name=name, created_at=at, updated_at=at, capabilities={})
        repositories.backends.insert(conn, made)


@case("backend.retired")
def _backend_retired(w: Planted) -> str:
    backend_row(w, "me", "old")
    return "me@old"


@case("host.down")
def _host_down(w: Planted) -> str:
    backend_row(w, "far", "file", age=1e6)
    return "far"


@case("pool.sick")
def _one_pool_of_two_gone(w: Planted) -> str:
    (w.state / "a").rename(w.state / "away")
    return "me@two#a"


@case("pool.full")
def _pool_full(w: Planted) -> str:
    driver = w.host.backends["one"].driver
    measured = driver.get_volume_stats
    driver.get_volume_stats = lambda refresh=False: [  # type: ignore[method-assign]
        replace(each, free=0) for each in measured(refresh)
    ]
    return "me@one#one"


@case("backend.disabled")
def _disabled(w: Planted) -> str:
    w.sql("UPDATE backends SET disabled = 1, disabled_reason = 'new disks' WHERE name = 'one'")
    return "me@one"


@case("backend.frozen")
def _frozen(w: Planted) -> str:
    w.sql("UPDATE backends SET frozen = 1 WHERE name = 'one'")
    return "me@one"


@case("host.lacking")
def _lacking(w: Planted) -> str:
    finding = '{"findings": [{"thing": "bwrap", "reason": "not found", "without": "images", "remedy": "install it"}]}'
    w.sql("UPDATE backends SET capabilities = ? WHERE name = 'one'", finding)
    return "me"


# Operations, files, quotas


def operation(w: Planted, host: str, resource: str, **fields: object) -> str:
    """Of a host that this service does not run."""
    made = Operation(names.new_id(), "volume.verify", host, "p1", "volume", resource, {}, [])
    with w.app.database.write() as conn:
        journal.insert(conn, replace(made, **fields))  # type: ignore[arg-type]
    return made.id


@case("operation.overdue")
def _overdue(w: Planted) -> str:
    backend_row(w, "far", "file")
    w.sql("DELETE FROM backends WHERE host = 'far'")
    return operation(w, "far", names.new_id(), deadline=clock.now() - timedelta(hours=1))


@case("operation.secret_left")
def _secret(w: Planted) -> str:
    id = names.new_id()
    w.sql("INSERT INTO operation_secrets VALUES (?, 'http://u:p@h/')", id)
    return id


@case("quota.exceeded")
def _quota(w: Planted) -> str:
    w.volume()
    w.sql("INSERT INTO quota_limits VALUES ('p1', 'volumes', 0)")
    return "p1/volumes"


@case("claim.stale")
def _claim(w: Planted) -> str:
    w.sql("INSERT INTO host_claims VALUES ('far', ?, ?, 1, '1', 5, 10, 'h with state folder /s')",
          names.new_id(), claims._machine())  # fmt: skip
    return "far"


@case("journal.stale")
def _journal(w: Planted) -> str:
    id = names.new_id()
    w.host.journals.mkdir(exist_ok=True)
    (w.host.journals / f"{id}.copy").touch()
    return id


@case("lock.left")
def _lock(w: Planted) -> str:
    id = names.new_id()
    (w.state / "locks" / id).touch()
    return id


@case("digests.left")
def _digests(w: Planted) -> str:
    id = names.new_id()
    w.host.digests.save(id, Digests(GiB))
    return id


@case("digests.damaged")
def _digests_damaged(w: Planted) -> str:
    id = w.volume()
    w.host.digests.save(id, Digests(GiB))
    path = w.host.digests.folder / id
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    return id


@case("digests.outdated")
def _digests_outdated(w: Planted) -> str:
    id = w.volume()
    w.attach(id)
    w.host.digests.save(id, Digests(GiB))
    return id
