"""Differences of hosts, backends, pools, operations and quotas, and files that nothing needs any more."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from nbdsvc.driver import Capacity, PoolStats
from nbdsvc.explain.finding import ERROR, NOTE, WARNING, Case, Found
from nbdsvc.explain.view import View
from nbdsvc.model import names
from nbdsvc.model.entities import StorageBackend
from nbdsvc.units import human

# The time that an undo may take after the deadline.
_OVERDUE = timedelta(minutes=10)
# Per cent of the metadata of a thin pool, beyond which the pool is close to becoming read-only.
_METADATA_PERCENT = 90.0
# Findings of backends/findings.py for which explain has kinds of its own.
_OWN_KINDS = ("backend", "pool ", "volume ")


def _backends(view: View) -> Iterator[StorageBackend]:
    return (row for row in view.facts.backends if row.host == view.facts.host)


def _found(row: StorageBackend, since: Any = None, **values: Any) -> Found:
    return Found("backend", row.full_name, values, since)


def _silent(view: View) -> Iterator[Found]:
    for row in _backends(view):
        if row.name in view.facts.configured and view.is_late(row):
            yield _found(row, row.updated_at)


def _broken(view: View) -> Iterator[Found]:
    for row in _backends(view):
        if (reason := view.facts.faults.get(row.name)) and not view.is_late(row):
            yield _found(row, reason=reason)


def _retired(view: View) -> Iterator[Found]:
    for row in _backends(view):
        if row.name not in view.facts.configured:
            yield _found(row, host=row.host)


def _pools(view: View) -> Iterator[tuple[PoolStats, Found]]:
    for backend, pools in view.facts.pools.items():
        for pool in pools:
            where = names.join_host(view.facts.host, backend)
            values = {"fault": pool.fault, "free": _size(pool.free), "total": _size(pool.total),
                      "reserved": pool.reserved_percentage, "metadata": pool.metadata_percent,
                      "provisioned": human(pool.provisioned), "ratio": pool.max_over_subscription_ratio}  # fmt: skip
            yield pool, Found("pool", f"{where}#{pool.name}", values, related=frozenset({where}))


def _size(size: Capacity) -> str:
    return size if isinstance(size, str) else human(size)


def _pool_sick(view: View) -> Iterator[Found]:
    return (found for pool, found in _pools(view) if pool.fault)


def _pool_full(view: View) -> Iterator[Found]:
    return (found for pool, found in _pools(view) if not pool.fault and pool.writable() <= 0)


def _metadata_full(view: View) -> Iterator[Found]:
    return (found for pool, found in _pools(view) if (pool.metadata_percent or 0) >= _METADATA_PERCENT)


def _promised(view: View) -> Iterator[Found]:
    for pool, found in _pools(view):
        if pool.thin and not pool.fault and not isinstance(pool.total, str):
            usable = pool.total - pool.total * pool.reserved_percentage // 100
            if pool.provisioned > usable * pool.max_over_subscription_ratio:
                yield found


def _transport(view: View) -> Iterator[Found]:
    for protocol, reason in view.facts.transport_faults.items():
        yield Found("host", view.facts.host, {"protocol": protocol, "reason": reason})


def _lacking(view: View) -> Iterator[Found]:
    """One finding for all backends of the host that report the same."""
    seen = set()
    for row in _backends(view):
        for each in row.capabilities.get("findings", []) if row.name in view.facts.configured else []:
            if not each["thing"].startswith(_OWN_KINDS) and each["thing"] not in seen:
                seen.add(each["thing"])
                yield Found("host", view.facts.host, each, related=frozenset({row.full_name}))


def _journal(view: View) -> Iterator[Found]:
    return (Found("operation", id) for id in view.facts.journals if id not in view.facts.live and view.idle(id))


def _lock_left(view: View) -> Iterator[Found]:
    for lock in view.facts.locks:
        if not lock.holder and view.idle(lock.name):
            yield Found("lock", lock.name)


def _lock_held(view: View) -> Iterator[Found]:
    for lock in view.facts.locks:
        if lock.holder and view.idle(lock.name):
            yield Found("lock", lock.name, {"pid": lock.holder})


def _digests_left(view: View) -> Iterator[Found]:
    for id in view.facts.digests:
        if id not in view.volumes and id not in view.snapshots and view.idle(id):
            yield Found("digests", id)


def _digests_damaged(view: View) -> Iterator[Found]:
    for id, fault in view.facts.digests.items():
        if fault and view.idle(id) and (id in view.volumes or id in view.snapshots):
            yield Found("digests", id, {"reason": fault}, related=frozenset({id}))


def _digests_outdated(view: View) -> Iterator[Found]:
    """Digests of volumes that are exported for writing, whose content only the guest knows."""
    for id in view.facts.digests:
        volume = view.volumes.get(id)
        writers = [row for row in view.attached[id] if row.exported and row.mode == "rw"]
        if volume and writers and not volume.readonly and view.idle(id, *(row.id for row in writers)):
            yield Found("digests", id, {"attachment": writers[0].id}, related=frozenset({id}))


def _host_down(view: View) -> Iterator[Found]:
    for host in view.dead_hosts():
        rows = [row for row in view.facts.backends if row.host == host]
        last = max(row.updated_at or row.created_at for row in rows)
        yield Found("host", host, {}, last, frozenset(row.full_name for row in rows))


def _take_over(view: View) -> Iterator[Found]:
    """Hosts that are down or lost, with volumes that a living host of their cluster can serve."""
    for host in sorted(view.dead_hosts() | view.facts.lost):
        peers = view.peers(host)
        waiting = [row for row in view.facts.volumes if row.host == host and peers.get(row.backend)]
        if waiting:
            others = sorted({peer for row in waiting for peer in peers[row.backend]})
            state = "is lost" if host in view.facts.lost else "does not report"
            word = "" if host in view.facts.lost else " --fenced, once it is switched off"
            values = {"state": state, "count": len(waiting), "others": ", ".join(others), "word": word}
            yield Found("host", host, values, related=frozenset(row.id for row in waiting))


def _unanswered(view: View) -> Iterator[Found]:
    return (Found("host", host, {"reason": reason}) for host, reason in view.facts.unanswered.items())


def _disabled(view: View) -> Iterator[Found]:
    return (_found(row, reason=row.disabled_reason or "no reason given") for row in view.facts.backends if row.disabled)


def _frozen(view: View) -> Iterator[Found]:
    return (_found(row) for row in view.facts.backends if row.frozen)


def _operation_host(view: View) -> Iterator[Found]:
    for operation in view.facts.operations:
        if operation.step_host in view.dead_hosts():
            yield _of_operation(operation, operation.created_at, host=operation.step_host)


def _overdue(view: View) -> Iterator[Found]:
    for operation in view.facts.operations:
        late = operation.deadline and view.facts.at - operation.deadline > _OVERDUE
        if late and operation.step_host not in view.dead_hosts():
            yield _of_operation(operation, operation.deadline, state=operation.state)


def _of_operation(operation: Any, since: Any, **values: Any) -> Found:
    common = {"kind": operation.kind, "noun": operation.resource_type, "resource": operation.resource_id}
    return Found("operation", operation.id, {**common, **values}, since, frozenset({operation.resource_id}))


def _secret(view: View) -> Iterator[Found]:
    return (Found("operation", id) for id in view.facts.secrets)


def _quota(view: View) -> Iterator[Found]:
    for each in view.facts.quotas:
        if 0 <= each.limit < each.used:
            values = {"project": each.project_id, "resource": each.resource, "limit": each.limit, "used": each.used}
            yield Found("project", f"{each.project_id}/{each.resource}", values)


def _claim(view: View) -> Iterator[Found]:
    for each in view.facts.claims:
        if each.dead:
            yield Found("host", each.host, {"pid": each.pid, "note": each.note})


OF_STORAGE = (
    Case("backend.silent", ERROR, "backend {id} does not report, and its host does: its driver hangs",
         "look at its storage; the log of its host has the last error", _silent),
    Case("backend.broken", ERROR, "backend {id} does not work: {reason}", "bring its storage back", _broken),
    Case("backend.retired", NOTE, "backend {id} has reported before, and host {host} does not have it in its settings",
         "none, unless it is missed", _retired),
    Case("pool.sick", ERROR, "pool {id} cannot serve: {fault}", "bring the pool back", _pool_sick),
    Case("pool.full", WARNING, "pool {id} has {free} of {total} free, and keeps {reserved} % back: nothing new fits",
         "add storage, or delete what is not needed", _pool_full),
    Case("pool.metadata_full", WARNING, "the metadata of pool {id} are {metadata} % full",
         "extend them: a full pool becomes read-only", _metadata_full),
    Case("pool.promised", WARNING, "pool {id} has promised {provisioned}, more than {ratio} times its {total}",
         "add storage, or raise max_over_subscription_ratio", _promised),
    Case("host.exporter_broken", ERROR, "the exports of host {id} by {protocol} cannot be looked at: {reason}",
         "mend the reason; exports that serve go on", _transport),
    Case("host.lacking", WARNING, "host {id} lacks {thing}: {reason}; without it no {without}", "{remedy}", _lacking),
    Case("journal.stale", WARNING, "there is a copy's journal of operation {id}, which has ended",
         "remove it (--fix)", _journal, fix="remove the journal of a copy that has ended"),
    Case("lock.left", WARNING, "the lock file {id} is left of a process that has ended", "remove it (--fix)", _lock_left,
         fix="remove a lock file that no process holds"),
    Case("lock.held", WARNING, "process {pid} holds the lock {id}, and no operation has it: a program that a killed "
         "service started is still at work", "wait for its end; nothing else takes the lock before", _lock_held),
    Case("digests.left", WARNING, "there are digests of {id}, which is no volume and no snapshot", "remove them (--fix)",
         _digests_left, fix="remove digests of what does not exist"),
    Case("digests.damaged", WARNING, "the digests of {id} are damaged: {reason}",
         "record new ones (nbdsvc verify --record) once the volume is known to be right", _digests_damaged),
    Case("digests.outdated", WARNING, "volume {id} has digests, and is attached for writing ({attachment})",
         "discard them (--fix): a verification would fail for what the guest wrote", _digests_outdated,
         fix="discard digests of a volume that may be written"),
)  # fmt: skip

OF_ROWS = (
    Case("host.down", ERROR, "host {id} does not report",
         "start nbdsvc there; if it never returns: nbdsvc host lost {id} --fenced", _host_down),
    Case("host.take_over", ERROR, "host {id} {state}, and has {count} volumes on storage that host {others} of its cluster "
         "sees too", "nbdsvc host take-over {id}{word}", _take_over),
    Case("host.unanswered", ERROR, "host {id} did not say what differs there: {reason}",
         "try again; the log of the host says more", _unanswered),
    Case("backend.disabled", NOTE, "backend {id} takes no new volumes: {reason}", "enable it when it should", _disabled),
    Case("backend.frozen", NOTE, "backend {id} is frozen: nothing on it may be changed", "thaw it when it should", _frozen),
    Case("operation.host_down", ERROR, "operation {id} ({kind}) on {noun} {resource} waits for host {host}, which is down",
         "start nbdsvc there; it goes on at its step", _operation_host),
    Case("operation.overdue", WARNING, "operation {id} ({kind}) on {noun} {resource} is {state} beyond its deadline",
         "look at the log of its host; its driver or a copy's source may hang", _overdue),
    Case("operation.secret_left", WARNING, "operation {id} has ended, and the secret of its request is still stored",
         "remove it (--fix)", _secret, fix="remove the secret of an operation that has ended"),
    Case("quota.exceeded", NOTE, "project {project} uses {used} of {limit} {resource}: the limit was lowered",
         "raise the limit, or have the project delete something", _quota),
    Case("claim.stale", NOTE, "process {pid} on {note} has host {id} claimed, and has ended",
         "remove the claim (--fix), or start the host, which takes it over", _claim,
         fix="remove the claim of a process that has ended"),
)  # fmt: skip
