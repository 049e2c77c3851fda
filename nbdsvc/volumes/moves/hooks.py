"""The calls that drivers get before and after a copy."""

from nbdsvc.driver import VolumeCopyDriver
from nbdsvc.driver.migrate import Remote
from nbdsvc.host import Backend
from nbdsvc.volumes.moves.places import Places


def call_hooks(places: Places, name: str) -> None:
    both: list[tuple[Backend, Remote | None]] = [(places.source, None if places.is_one_backend else "dest")]
    if not places.is_one_backend:
        both.append((places.destination, "src"))
    for backend, remote in both:
        if isinstance(backend.driver, VolumeCopyDriver):
            getattr(backend.driver, name)(places.here, places.there, remote)
