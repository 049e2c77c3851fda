"""The calls that drivers get before and after a copy."""

from typing import Literal

from nbdsvc.driver import VolumeCopyDriver
from nbdsvc.driver.migrate import Remote
from nbdsvc.host import Backend
from nbdsvc.volumes.moves.places import Places

Name = Literal["before_volume_copy", "after_volume_copy"]


def call_hooks(places: Places, name: Name) -> None:
    """Of both backends, which are of this host; of one that is both, once."""
    if places.is_one_backend:
        _call(places.source, places, name, None)
    else:
        call_at_source(places, name)
        call_at_destination(places, name)


def call_at_source(places: Places, name: Name) -> None:
    _call(places.source, places, name, "dest")


def call_at_destination(places: Places, name: Name) -> None:
    _call(places.destination, places, name, "src")


def _call(backend: Backend, places: Places, name: Name, remote: Remote | None) -> None:
    if isinstance(backend.driver, VolumeCopyDriver):
        getattr(backend.driver, name)(places.here, places.there, remote)
