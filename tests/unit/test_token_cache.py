"""What is remembered of tokens."""

import gc

from hypothesis import given
from hypothesis import strategies as st

from nbdsvc.identity.cache import TokenCache


@given(st.lists(st.tuples(st.sampled_from(["put", "get", "wait"]), st.integers(0, 9)), max_size=60))
def test_a_token_is_remembered_for_so_long_and_so_many_are(steps: list[tuple[str, int]]) -> None:
    """As a list of all puts says: the newest value, if it is young enough and four others were not used since."""
    now = 0.0
    cache: TokenCache[int] = TokenCache(5, 4, lambda: now)
    values: dict[str, tuple[float, int]] = {}  # in the order of use
    for count, (kind, number) in enumerate(steps):
        token = f"token-{number}"
        if kind == "wait":
            now += number / 2
        elif kind == "put":
            cache.put(token, count)
            values.pop(token, None)
            values[token] = now, count
            values = dict(list(values.items())[-4:])
        else:
            made, value = values.pop(token, (float("-inf"), 0))
            young = now - made < 5
            assert cache.get(token) == (value if young else None)
            if young:
                values[token] = made, value
        assert len(cache) <= 4


def test_no_token_is_in_the_cache() -> None:
    """Only digests by a key of this process: two caches have no digest in common."""
    token = "gAAAAABn" + "x" * 200
    caches = [TokenCache[int](60, 4) for _ in "ab"]
    for cache in caches:
        cache.put(token, 1)
    kept = [set(cache._found) for cache in caches]
    assert not kept[0] & kept[1]
    for cache in caches:
        assert token not in repr([vars(cache), *gc.get_referents(cache._found)])
