"""Errors survive the journal, and the tree has no leaf without a template's facts."""

from nbdsvc import errors


def test_errors_come_back_from_the_journal() -> None:
    """Kind, message and facts are the same; a foreign exception becomes ours; an unknown kind keeps its words."""
    error = errors.InvalidState(resource="Volume", id="1", action="x", status="error", allowed=["available"])
    again = errors.from_facts(errors.facts_of(error))
    assert (type(again), str(again), again.facts) == (errors.InvalidState, str(error), error.facts)
    assert errors.facts_of(ValueError("v"))["kind"] == "InternalError"
    assert "old words" in str(errors.from_facts({"kind": "Gone", "message": "old words", "facts": {}}))


def test_who_does_not_run_the_storage_reads_nothing_of_its_host() -> None:
    """Commands, paths, and names of hosts and pools are shown to administrators only; what the caller can change, to all."""
    host = [
        errors.CommandFailed(argv=["lvcreate", "/dev/vg/x"], rc=5, stderr="/dev/vg/x: no"),
        errors.OutOfSpace(pool="me@lvm#vg", requested=1, free=0, reason="/dev/vg is full"),
        errors.DeviceBusy(device="/dev/vg/x", reason="/dev/vg/x is open"),
        errors.ExportFailed(export="1", reason="/run/s: no"),
        errors.BackendUnavailable(backend="me", reason="/dev/vg is away"),
        errors.WriteFailed(destination="/dev/vg/x", offset=0, reason="/dev/vg/x is full"),
        errors.RollbackFailed(operation="1", step="fill", cause="lvcreate /dev/vg/x", undo_error="/dev/vg"),
        errors.ConfigError(setting="pool", reason="/dev/vg is away"),
        errors.InternalError(reason="KeyError: /dev/vg"),
    ]
    for error in host:
        message = error.message_for_user(everything=False)
        assert "/" not in message
        assert "me" not in message.split()
        assert error.message_for_user(everything=True) == str(error)
        assert errors.from_facts(errors.facts_of(error)).message_for_user(everything=False) == message
    assert (
        errors.NotFound(resource="Volume", id="1").message_for_user(everything=False) == "Volume 1 could not be found."
    )
