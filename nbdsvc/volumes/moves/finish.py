"""Steps finish and remove: what is left to do once the volume is at its destination."""

from nbdsvc import errors
from nbdsvc.driver import MigratedDriver
from nbdsvc.host import host_of
from nbdsvc.operations.operation_type import Run
from nbdsvc.refs import keep_state
from nbdsvc.store import moves, repositories
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.places import Places, is_copied, read_places
from nbdsvc.volumes.moves.send import forget_copy


def finish(run: Run[MoveArgs]) -> None:
    """After the switch `here` is the destination."""
    places = read_places(run)
    driver = places.source.driver
    if is_copied(run) and isinstance(driver, MigratedDriver):
        keep_state(
            run, repositories.volumes, places.volume.id, driver.update_migrated_volume(places.here, places.there)
        )


def remove_source(run: Run[MoveArgs]) -> None:
    """After the switch `there` is the source. Conflict where the destination was lost meanwhile, with the volume."""
    forget_copy(run)
    if is_copied(run):
        places = read_places(run)
        _check_not_last(run, places)
        if not places.is_one_host:
            host_of(run).digests.discard(places.volume.id)
        places.destination.driver.delete_volume(places.there)


def _check_not_last(run: Run[MoveArgs], places: Places) -> None:
    with host_of(run).database.read() as conn:
        if moves.is_last_copy(conn, places.move):
            id, host = places.volume.id, places.volume.host
            reason = f"the source of volume {id} stays, because host {host}, where it went, may have lost it"
            raise errors.Conflict(reason=reason)
