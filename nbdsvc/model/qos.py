"""QoS specs: their consumers, the keys that a back end accepts, and the values for a volume of a given size."""

from collections.abc import Mapping

from nbdsvc import errors

FRONT_END, BACK_END, BOTH = "front-end", "back-end", "both"
CONSUMERS = (FRONT_END, BACK_END, BOTH)
DEFAULT_CONSUMER = BACK_END

_BURST, _LENGTH, _PER_GB, _MINIMUM = "_max", "_max_length", "_per_gb", "_per_gb_min"
OPERATION_SIZE = "size_iops_sec"
_RATES = tuple(f"{kind}_{unit}_sec" for kind in ("total", "read", "write") for unit in ("bytes", "iops"))
# Keys: a rate; its burst, and the burst's length in seconds; a rate for each GiB, and its minimum.
_SUFFIXES = ("", _BURST, _LENGTH, _PER_GB, _MINIMUM)
# The keys that each of these belongs to, by their endings.
_NEEDS = {_BURST: ("",), _LENGTH: (_BURST,), _MINIMUM: (_PER_GB,)}
BACK_END_KEYS = frozenset({rate + suffix for rate in _RATES for suffix in _SUFFIXES} | {OPERATION_SIZE})
# The largest value of QEMU's throttling (THROTTLE_VALUE_MAX).
_MOST = 10**15


def check(consumer: str, specs: Mapping[str, str]) -> None:
    """Raise InvalidInput for an unknown consumer, and for specs of a back end for an unknown key, a value that is no
    number, a total beside one of its parts, a burst below its rate, and what belongs to a rate or a burst that there is not.
    A key with a colon (`vendor:key`) belongs to a driver and is not checked.
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
    for key, value in known.items():
        if reason := _contradiction(key, known):
            raise errors.InvalidInput(field=key, value=value, reason=reason)


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


def _contradiction(key: str, known: Mapping[str, str]) -> str | None:
    """As QEMU refuses them (its throttle_is_valid), and rates for each GiB as far as they are known here."""
    if key == OPERATION_SIZE:
        has_rate = any(rate in known or rate + _PER_GB in known for rate in _RATES if "iops" in rate)
        return None if has_rate else "there is no limit of operations that it could be the size of"
    rate = next(rate for rate in _RATES if key.startswith(rate))
    missing = [name for name in _NEEDS.get(key.removeprefix(rate), ()) if rate + name not in known]
    if missing and not (key == rate + _BURST and rate + _PER_GB in known):
        return f"there is no {rate + missing[0]}, to which it belongs"
    least = max(_number(known.get(rate + name, "")) for name in ("", _MINIMUM))
    burst = _number(known.get(rate + _BURST, ""))
    if key == rate + _BURST and burst < least:
        return f"a burst is at least the rate, which is {least}"
    if key == rate + _LENGTH and burst * _number(known[key]) > _MOST:
        return f"the burst of that length is more than {_MOST}"
    return None


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


def limits(consumer: str, specs: Mapping[str, str], size: int) -> dict[str, int]:
    """What exports of a volume of `size` GiB keep its clients to: rates, bursts above them, and `size_iops_sec`. Empty for
    specs of the front end, and where they have no rate. Of specs that an older version did not check, what makes sense.
    """
    if consumer == FRONT_END:
        return {}
    given, found = for_size(specs, size), {}
    for rate in _RATES:
        if average := min(_number(given.get(rate, "")), _MOST):
            found[rate] = average
            found.update(_burst(rate, average, given))
    if (size_of := _number(given.get(OPERATION_SIZE, ""))) and any("iops" in key for key in found):
        found[OPERATION_SIZE] = size_of
    return found


def _burst(rate: str, average: int, given: Mapping[str, str]) -> dict[str, int]:
    """None below the rate: a rate for each GiB has outgrown it. A second is its length unless another is given."""
    burst = _number(given.get(rate + _BURST, ""))
    length = _number(given.get(rate + _LENGTH, ""))
    if burst < average:
        return {}
    return {rate + _BURST: burst, **({rate + _LENGTH: length} if length > 1 else {})}
