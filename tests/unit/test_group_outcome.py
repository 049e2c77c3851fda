"""What a driver's return values for a group mean: rows S107-S112 of the acceptance table, and traps T7 and T8."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdsvc import errors
from nbdsvc.groups.outcome import BAD, BAD_DELETION, Outcome, judge, judge_pair, raise_if_bad

IDS = ("a", "b")
STATUSES = st.sampled_from([None, "available", "error", "error_deleting", "deleted", "odd"])
ENTRIES = st.one_of(st.none(), st.lists(st.tuples(st.sampled_from([*IDS, "foreign"]), STATUSES), max_size=3))


def entries(found: list[tuple[str, Any]] | None) -> list[dict[str, Any]] | None:
    return None if found is None else [{"id": id, "status": status} for id, status in found]


@pytest.mark.row("S107", "S108", "S109", "S110", "S111", "S112")
@settings(max_examples=200)
@given(STATUSES, ENTRIES, st.sampled_from([BAD, BAD_DELETION]))
def test_the_whole_is_bad_exactly_where_something_is(
    status: str | None, listed: list[tuple[str, Any]] | None, bad: frozenset[str]
) -> None:
    """Its own status or an entry's, also without a model_update (T7); entries of other objects count for nothing."""
    model_update = None if status is None else {"status": status}
    found = judge(model_update, entries(listed), bad, IDS)
    own = dict(each for each in listed or () if each[0] in IDS)
    assert (found.status is not None) == (status in bad or any(each in bad for each in own.values()))
    assert found == Outcome.from_json(found.to_json())
    for id in IDS:
        made, removed = found.made(id), found.removed(id)
        assert made == (own.get(id) if found.status and own.get(id) in ("available", "error") else "error")
        allowed = ("deleted", "error_deleting", "error", "available")
        assert removed == (own.get(id) if found.status and own.get(id) in allowed else "error")


@pytest.mark.row("S108", "S109")
def test_without_a_list_every_object_is_in_error() -> None:
    """Where the driver says only that the whole failed, and where its call raised an error."""
    only = judge_pair(({"status": "error_deleting"}, None), BAD_DELETION, IDS)
    assert [only.removed(id) for id in IDS] == ["error", "error"]
    raised = Outcome.from_json(None)
    assert (raised.status, [raised.made(id) for id in IDS]) == ("error", ["error", "error"])
    with pytest.raises(errors.GroupFailed, match="error_deleting"):
        raise_if_bad(only, "g")


def test_none_is_success() -> None:
    """None, a pair of None, and entries that say that all is well."""
    for returned in (None, (None, None), ({"status": "available"}, [{"id": "a", "status": "available"}])):
        raise_if_bad(judge_pair(returned, BAD, IDS), "g")


def test_an_entry_must_name_its_object() -> None:
    """The driver is at fault otherwise; what an entry has besides is kept for its object."""
    for odd in ([{"status": "error"}], [{"id": ""}], ["a"]):
        with pytest.raises(errors.InternalError, match="names no volume"):
            judge(None, odd, BAD, IDS)  # type: ignore[arg-type]
    found = judge(None, [{"id": "a", "provider_id": "7", "project_id": "p"}], BAD, IDS)
    assert (found.state("a"), found.state("b")) == ({"provider_id": "7"}, {})
