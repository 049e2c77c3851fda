"""Step move: the driver moves the volume, where both pools are its own and it can."""

from dataclasses import replace

from nbdsvc.driver import MigrateDriver
from nbdsvc.host import host_of
from nbdsvc.operations.operation_type import Run
from nbdsvc.refs import keep_state
from nbdsvc.store import moves, repositories
from nbdsvc.volumes.moves.arguments import MoveArgs
from nbdsvc.volumes.moves.places import is_switched, read_places


def move_by_driver(run: Run[MoveArgs]) -> dict[str, bool]:
    """Let the driver move it, where both pools are of one backend whose driver can."""
    with host_of(run).database.write() as conn:
        moves.change_status(conn, run.args.volume_id, "make the destination")
    places = read_places(run)
    driver = places.source.driver
    if run.args.force_host_copy or not places.is_one_backend or not isinstance(driver, MigrateDriver):
        return {"moved": False}
    moved, state = driver.migrate_volume(places.here, places.there)
    if moved:
        keep_state(run, repositories.moves, places.volume.id, state)
    return {"moved": moved}


def move_back(run: Run[MoveArgs]) -> None:
    """Also where the step ended in the middle, before its state was kept. What the driver could not move is where it was."""
    if is_switched(run) or run.results.get("move") == {"moved": False} or run.args.force_host_copy:
        return
    places = read_places(run)
    driver = places.source.driver
    if places.is_one_backend and isinstance(driver, MigrateDriver):
        driver.migrate_volume(replace(places.there, state=places.there.state or places.here.state), places.here)
