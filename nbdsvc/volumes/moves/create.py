"""Step create: an object of zeros at the destination."""

from nbdsvc.host import host_of
from nbdsvc.operations.operation_type import Run
from nbdsvc.refs import keep_state
from nbdsvc.store import moves, repositories
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.places import is_copied, is_switched, read_places


def create_destination(run: Run[MoveArgs]) -> None:
    if is_copied(run):
        with host_of(run).database.write() as conn:
            moves.change_status(conn, run.args.volume_id, "make the destination")
        places = read_places(run)
        state = places.destination.driver.create_volume(places.there, run.id)
        keep_state(run, repositories.moves, places.volume.id, state)


def remove_destination(run: Run[MoveArgs]) -> None:
    if is_copied(run) and not is_switched(run):
        places = read_places(run)
        places.destination.driver.delete_volume(places.there)
