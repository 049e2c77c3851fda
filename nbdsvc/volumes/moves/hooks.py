"""The calls that drivers get before and after a copy."""

from typing import Literal

from nbdsvc.driver import VolumeCopyDriver, VolumeRef
from nbdsvc.driver.migrate import Remote
from nbdsvc.host import Backend
from nbdsvc.volumes.moves.places import Places

Name = Literal["before_volume_copy", "after_volume_copy"]


def call_hooks(places: Places, name: Name) -> None:
    """Of both backends, which are of this host; of one that is both, once. Also after the switch, in which the source and the
    destination have changed their places.
    """
    ends = (places.source, places.here), (places.destination, places.there)
    (source, here), (destination, there) = reversed(ends) if places.move.switched else ends
    _call(source, here, there, name, None if places.is_one_backend else "dest")
    if not places.is_one_backend:
        _call(destination, here, there, name, "src")


def call_at_source(places: Places, name: Name) -> None:
    _call(places.source, places.here, places.there, name, "dest")


def call_at_destination(places: Places, name: Name) -> None:
    _call(places.destination, places.here, places.there, name, "src")


def _call(backend: Backend, here: VolumeRef, there: VolumeRef, name: Name, remote: Remote | None) -> None:
    if isinstance(backend.driver, VolumeCopyDriver):
        getattr(backend.driver, name)(here, there, remote)
