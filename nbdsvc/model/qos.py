"""QoS specs: their consumers, the keys that a back end accepts, and the values for a volume of a given size."""

from collections.abc import Mapping

from nbdsvc import errors

FRONT_END, BACK_END, BOTH = "front-end", "back-end", "both"
CONSUMERS = (FRONT_END, BACK_END, BOTH)
DEFAULT_CONSUMER = BACK_END

_PER_GB, _MINIMUM = "_per_gb", "_per_gb_min"
_RATES = tuple(f"{kind}_{unit}_sec" for kind in ("total", "read", "write") for unit in ("bytes", "iops"))
# Keys: a rate; its burst, and the burst's length in seconds; a rate for each GiB, and its minimum.
_SUFFIXES = ("", "_max", "_max_length", _PER_GB, _MINIMUM)
BACK_END_KEYS = frozenset({rate + suffix for rate in _RATES for suffix in _SUFFIXES} | {"size_iops_sec"})
# The largest value of QEMU's throttling (THROTTLE_VALUE_MAX).
_MOST = 10**15


def check(consumer: str, specs: Mapping[str, str]) -> None:
    """Raise InvalidInput for an unknown consumer, and for specs of a back end for an unknown key, a value that is no
    number, and a total beside one of its parts. A key with a colon (`vendor:key`) belongs to a driver and is not
    checked.
    """
    if consumer not in CONSUMERS:
        raise errors.InvalidInput(
            field="consumer", value=consumer[:80], reason=f"must be one of {', '.join(CONSUMERS)}"
        )
    if consumer == FRONT_END:
        return
    known = {key: value for key, value in specs.items() if ":" not in key}
    for key, value in known.items():
        if reason := _fault(key, value):
            raise errors.InvalidInput(field=key[:80], value=value[:80], reason=reason)
    for unit in ("bytes", "iops"):
        _check_sum(unit, known)


def _check_sum(unit: str, known: Mapping[str, str]) -> None:
    parts = [key for key in known if key.startswith((f"read_{unit}_sec", f"write_{unit}_sec"))]
    sums = [key for key in known if key.startswith(f"total_{unit}_sec")]
    if parts and sums:
        reason = f"there is {parts[0]} too: give the sum of reads and writes, or one for each"
        raise errors.InvalidInput(field=sums[0], value=None, reason=reason)


def _fault(key: str, value: str) -> str | None:
    if key not in BACK_END_KEYS:
        return "no back end knows this key: it is for the consumer front-end, or needs a vendor's prefix and a colon"
    return None if 0 < _number(value) <= _MOST else f"must be a whole number, 1 to {_MOST}"


def _number(text: str) -> int:
    """The number written in ASCII digits; 0 for any other text, or one too long for a rate."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(_MOST)) else 0


def for_size(specs: Mapping[str, str], size: int) -> dict[str, str]:
    """The specs of a volume of `size` GiB: a rate for each GiB becomes a rate, which replaces a fixed one."""
    found = {key: value for key, value in specs.items() if not key.endswith((_PER_GB, _MINIMUM))}
    for key, value in specs.items():
        if key.endswith(_PER_GB) and (rate := _number(value)):
            least = _number(specs.get(key.removesuffix(_PER_GB) + _MINIMUM, ""))
            found[key.removesuffix(_PER_GB)] = str(max(rate * size, least))
    return found
