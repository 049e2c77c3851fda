"""Differences of volumes: between the row and the object, and between the row and what works on it."""

from collections.abc import Callable, Iterator
from typing import Any

from nbdsvc.driver import BackendObject
from nbdsvc.explain.finding import ERROR, NOTE, WARNING, Case, Found
from nbdsvc.explain.view import View, place
from nbdsvc.model import states
from nbdsvc.model.entities import Volume
from nbdsvc.store import transitions
from nbdsvc.units import GiB, human

# The statuses in which a volume has all of its bytes.
_WHOLE = frozenset(
    """available in-use reserved attaching detaching awaiting-transfer error_attaching error_detaching error_extending
    error_restoring error_backing-up""".split()
)


def found_volume(volume: Volume, since: Any = None, **values: Any) -> Found:
    """A finding about this volume, also with the name that the owner gave it."""
    name = f" ({volume.name})" if volume.name else ""
    return Found("volume", volume.id, {"name": name, **values}, since, frozenset({place(volume)}))


def _with_objects(view: View) -> Iterator[tuple[Volume, list[BackendObject], list[str]]]:
    """Each volume that has bytes in a pool that was listed: its objects there, and the other pools that have some."""
    for volume in view.idle_volumes():
        if volume.status in _WHOLE and view.is_readable(volume):
            backend, found = view.backend(volume), view.objects.get(("volume", volume.id), [])
            here = [each for name, each in found if (name, each.pool) == (backend, volume.pool)]
            yield volume, here, sorted(f"{name}#{each.pool}" for name, each in found if each not in here)


def _own_object(view: View, check: Callable[[Volume, BackendObject], dict[str, Any] | None]) -> Iterator[Found]:
    for volume, here, _elsewhere in _with_objects(view):
        if here and (values := check(volume, here[0])) is not None:
            yield found_volume(volume, **values)


def _object_gone(view: View) -> Iterator[Found]:
    for volume, here, elsewhere in _with_objects(view):
        if not here and not elsewhere:
            yield found_volume(volume, pool=volume.full_host)


def _misplaced(view: View) -> Iterator[Found]:
    for volume, here, elsewhere in _with_objects(view):
        if not here and elsewhere:
            yield found_volume(volume, pool=volume.full_host, there=elsewhere[0])


def _twice(view: View) -> Iterator[Found]:
    for volume, here, elsewhere in _with_objects(view):
        others = [each for each in elsewhere if each not in _second_places(view, volume)]
        if here and others:
            yield found_volume(volume, pool=volume.full_host, there=", ".join(others))


def _second_places(view: View, volume: Volume) -> list[str]:
    """The pool of this host where a move left, or may have left, an object of the volume."""
    return [f"{each.backend}#{each.pool}" for each in view.facts.moves if each.id == volume.id]


def _leaving(view: View) -> Iterator[Found]:
    for volume, here, elsewhere in _with_objects(view):
        for there in set(elsewhere).intersection(_second_places(view, volume)):
            if here:
                yield found_volume(volume, volume.updated_at, pool=volume.full_host, there=there)


def _smaller(view: View) -> Iterator[Found]:
    def check(volume: Volume, found: BackendObject) -> dict[str, Any] | None:
        short = found.size < volume.size * GiB
        return {"size": volume.size, "found": human(found.size)} if short else None

    return _own_object(view, check)


def _larger(view: View) -> Iterator[Found]:
    """Objects larger than their row by a GiB, because pools round up by less. Failed extends have a status."""

    def check(volume: Volume, found: BackendObject) -> dict[str, Any] | None:
        long = found.size >= (volume.size + 1) * GiB and volume.status != "error_extending"
        return {"size": volume.size, "found": human(found.size)} if long else None

    return _own_object(view, check)


def _unmarked(view: View) -> Iterator[Found]:
    return _own_object(view, lambda _volume, found: None if found.owner else {"object": found.name})


def _backend_gone(view: View) -> Iterator[Found]:
    for volume in view.idle_volumes():
        if view.is_here(volume) and view.backend(volume) not in view.facts.configured:
            known = ", ".join(sorted(view.facts.configured))
            yield found_volume(volume, backend=volume.backend, host=volume.host, known=known)


def _pool_gone(view: View) -> Iterator[Found]:
    for volume in view.idle_volumes():
        pools = view.facts.pools.get(view.backend(volume), ()) if view.is_here(volume) else ()
        if pools and volume.pool and volume.pool not in {pool.name for pool in pools}:
            known = ", ".join(pool.name for pool in pools)
            yield found_volume(volume, pool=volume.pool, backend=place(volume), known=known)


def _stuck(view: View) -> Iterator[Found]:
    for volume in view.idle_volumes():
        if volume.status in states.VOLUME_IN_FLIGHT:
            yield found_volume(volume, volume.updated_at or volume.created_at, status=volume.status)


def _contradicted(view: View) -> Iterator[Found]:
    """Volumes whose status contradicts their attachments, unless the end of one of these failed or is running."""
    for volume in view.idle_volumes():
        attached = view.attached[volume.id]
        statuses = {row.status for row in attached}
        if volume.status not in states.BY_ATTACHMENTS or not view.idle(*(row.id for row in attached)):
            continue
        wanted = transitions.status_of(attached)
        if wanted != volume.status and statuses <= {"attached", "attaching", "reserved"} and not _reserved(volume):
            counted = f"{len(attached)} attachments ({', '.join(sorted(statuses))})" if attached else "no attachment"
            yield found_volume(volume, volume.updated_at, status=volume.status, attached=counted, wanted=wanted)


def _reserved(volume: Volume) -> bool:
    """os-reserve makes a volume `attaching` before there is an attachment."""
    return volume.status == "attaching"


def _failed(view: View) -> Iterator[Found]:
    for volume in view.idle_volumes():
        if volume.status.startswith("error"):
            operation = view.facts.newest.get(volume.id)
            reason = (operation.error or {}).get("message") if operation else None
            kind = operation.kind if operation else "an operation that is forgotten"
            since = (operation.finished_at if operation else None) or volume.updated_at
            values = {"status": volume.status, "kind": kind, "reason": reason or "it left no reason"}
            yield found_volume(volume, since, **values)


def _target_size(view: View) -> Iterator[Found]:
    for volume in view.idle_volumes():
        if volume.target_size is not None and volume.status != "extending":
            yield found_volume(volume, target=volume.target_size, size=volume.size)


def _type_gone(view: View) -> Iterator[Found]:
    for volume in view.idle_volumes():
        if volume.volume_type_id and volume.volume_type_id not in view.facts.types:
            yield found_volume(volume, type=volume.volume_type_id)


def _host_unknown(view: View) -> Iterator[Found]:
    known = {row.host for row in view.facts.backends}
    for volume in view.idle_volumes():
        if volume.host not in known:
            yield found_volume(volume, host=volume.host)


# A backend's report also finds these (backends/findings.py).
MISPLACED = Case(
    "volume.misplaced",
    ERROR,
    "volume {id}{name} is in {there}, and its row says {pool}: it is not served",
    "move it back by the means of the storage",
    _misplaced,
)

# Kinds that only the storage host can find.
OF_STORAGE = (
    Case("volume.object_gone", ERROR, "volume {id}{name} is not in {pool}, nor in another pool of its host",
         "bring its disk or folder back, restore it from a backup, or delete the volume", _object_gone),
    MISPLACED,
    Case("volume.twice", ERROR, "volume {id}{name} is in {pool}, where it is served from, and a second time in {there}",
         "compare the two, and remove the one in {there} by the means of the storage", _twice),
    Case("volume.leaving", NOTE, "volume {id}{name} is in {pool}, and an object in {there}, of a move that ended, is still "
         "to be removed", "nothing: the service tries again at each interval; its log says what hinders it", _leaving),
    Case("volume.smaller", ERROR, "volume {id}{name} has {size} GiB by its row, and only {found} in its pool",
         "what lay beyond is lost: restore it from a backup, or extend the object by the means of the storage", _smaller),
    Case("volume.larger", WARNING, "volume {id}{name} has {size} GiB by its row and for its quota, and {found} in its pool",
         "extend the volume to the size that it has; nothing shrinks it", _larger),
    Case("volume.unmarked", ERROR, "{object} in the pool of volume {id}{name} has no mark of this service: it is "
         "another one's, or was put there by hand", "find out whose it is; rename it, and bring the volume's own back",
         _unmarked),
    Case("volume.backend_gone", ERROR, "volume {id}{name} is on backend {backend}, which host {host} does not have in its "
         "settings ({known})", "configure the backend again, or delete the volume's row after its bytes are moved",
         _backend_gone),
    Case("volume.pool_gone", ERROR, "volume {id}{name} is in pool {pool}, which {backend} does not have ({known})",
         "configure the pool again", _pool_gone),
)  # fmt: skip

OF_ROWS = (
    Case("volume.stuck", ERROR, "volume {id}{name} is {status}, and no operation works on it",
         "give it the status of a failed operation (--fix), then delete it or try again", _stuck,
         fix="give it the status that the operation's failure would have"),
    Case("volume.contradicted", ERROR, "volume {id}{name} is {status}, and has {attached}: it should be {wanted}",
         "give it the status that its attachments call for (--fix)", _contradicted,
         fix="give it the status that its attachments call for"),
    Case("volume.failed", NOTE, "volume {id}{name} is {status}: {kind} failed: {reason}",
         "mend the reason and repeat the request, or delete the volume", _failed),
    Case("volume.target_size", WARNING, "volume {id}{name} counts with {target} GiB instead of its {size} GiB against its "
         "quota, and nothing extends it", "forget the size of the extension (--fix)", _target_size,
         fix="forget the size of the extension that ended"),
    Case("volume.type_gone", WARNING, "volume {id}{name} has the type {type}, which does not exist",
         "create the type again, or make a copy of the volume with another one", _type_gone),
    Case("volume.host_unknown", ERROR, "volume {id}{name} is on host {host}, which has never reported",
         "start the host, or correct its name (setting host)", _host_unknown),
)  # fmt: skip
