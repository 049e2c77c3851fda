"""Steps finish and remove: what is left to do once the volume is at its destination."""

from nbdsvc import journaled_copy
from nbdsvc.driver import MigratedDriver
from nbdsvc.operations.operation_type import Run
from nbdsvc.refs import keep_state
from nbdsvc.store import repositories
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.places import is_copied, read_places


def finish(run: Run[MoveArgs]) -> None:
    """After the switch `here` is the destination."""
    places = read_places(run)
    driver = places.source.driver
    if is_copied(run) and isinstance(driver, MigratedDriver):
        keep_state(
            run, repositories.volumes, places.volume.id, driver.update_migrated_volume(places.here, places.there)
        )


def remove_source(run: Run[MoveArgs]) -> None:
    """After the switch `there` is the source."""
    journaled_copy.remove_journal(run)
    if is_copied(run):
        places = read_places(run)
        places.destination.driver.delete_volume(places.there)
