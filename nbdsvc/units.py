"""Sizes. Volumes are sold in GiB (the API's "size"), everything below the API is bytes."""

KiB = 1 << 10
MiB = 1 << 20
GiB = 1 << 30
TiB = 1 << 40


def to_gib(size: int) -> int:
    """Whole GiB that hold `size` bytes: rounded up, as row S098 asks."""
    return -(-size // GiB)


def human(size: float) -> str:
    """`size` bytes as a person would say it: 512 B, 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def gigabytes(capacity: int | str) -> float | str:
    """Bytes as GiB; a capacity that is no number ("infinite", "unknown") as it is: for types, expressions and the API."""
    return capacity if isinstance(capacity, str) else capacity / GiB


def shown_gigabytes(capacity: int | str) -> float | str:
    """The same, rounded as the API shows it."""
    found = gigabytes(capacity)
    return found if isinstance(found, str) else round(found, 2)
