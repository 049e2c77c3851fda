"""Facts that a driver declares beside its methods."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DriverFacts:
    """Facts of a driver that do not follow from its methods, known at the latest after `do_setup`."""

    thin: bool
    """Space is taken when it is written."""
    shares_blocks: bool = True
    """The storage can share blocks between objects. Where it cannot (a file system without reflinks), a new snapshot is an
    object of zeros that the service fills by a copy, and no method of CloneDriver and RevertDriver is called."""
    multiattach: bool = True
    """Several clients may have one volume open."""
    clones_images: bool = False
    """Of a CloneImageDriver: `clone_image` clones some images. Otherwise it is not called."""
    replicates: bool = False
    """Replication is set up (S063): of a driver that could replicate, and has no target, it is not."""
