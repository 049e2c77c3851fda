"""DataError: bytes are wrong or lost. Nothing retries these in silence."""

from nbdsvc.errors.base import Error


class DataError(Error):
    """Bytes are wrong, lost or not to be trusted."""


class ReadFailed(DataError):
    """Facts: source, offset (bytes), reason."""

    template = "Reading {source} failed at byte {offset}: {reason}"
    source: str
    offset: int
    reason: str


class WriteFailed(DataError):
    """Facts: destination, offset (bytes), reason."""

    template = "Writing {destination} failed at byte {offset}: {reason}"
    outside = "Writing failed at byte {offset}."
    destination: str
    offset: int
    reason: str


class ChecksumMismatch(DataError):
    """Facts: source, expected, actual."""

    template = "{source} has checksum {actual}, expected {expected}."
    source: str
    expected: str
    actual: str


class BadImage(DataError):
    """An image that nbdsvc refuses. Facts: image, reason."""

    template = "Image {image} is refused: {reason}"
    image: str
    reason: str


class BackupDamaged(DataError):
    """Facts: backup (its id), reason."""

    template = "Backup {backup} is damaged: {reason}"
    backup: str
    reason: str
