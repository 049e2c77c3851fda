"""Errors survive the journal, and the tree has no leaf without a template's facts."""

from nbdsvc import errors


def test_errors_come_back_from_the_journal() -> None:
    """Kind, message and facts are the same; a foreign exception becomes ours; an unknown kind keeps its words."""
    error = errors.InvalidState(resource="Volume", id="1", action="x", status="error", allowed=["available"])
    again = errors.from_facts(errors.facts_of(error))
    assert (type(again), str(again), again.facts) == (errors.InvalidState, str(error), error.facts)
    assert errors.facts_of(ValueError("v"))["kind"] == "InternalError"
    assert "old words" in str(errors.from_facts({"kind": "Gone", "message": "old words", "facts": {}}))
