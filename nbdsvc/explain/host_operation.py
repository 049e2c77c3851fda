"""The operation by which each host reports its findings: only the host itself can read its storage and exports."""

from dataclasses import dataclass
from typing import Any

from nbdsvc.explain import rows
from nbdsvc.explain.diff import OF_STORAGE, diff
from nbdsvc.explain.host_fixes import mend
from nbdsvc.explain.observe import observe
from nbdsvc.host import host_of
from nbdsvc.model.locking import locks
from nbdsvc.model.operation import Lock
from nbdsvc.operations.operation_type import OperationType, Run, Step

# The scope of these findings in FirstSeen.
_SCOPE = "explain"


@dataclass(frozen=True)
class ExplainHostArgs:
    """Arguments of the operation `host.explain`."""

    late: tuple[str, ...] = ()
    """Backends that do not report in time."""
    keys: tuple[str, ...] = ()
    """Findings that are to be mended, should they be there still."""


def _locks(_args: ExplainHostArgs) -> list[Lock]:
    return locks(rows.EXPLAIN)


def _look(run: Run[ExplainHostArgs]) -> dict[str, Any]:
    """Read the facts, and again before a repair, because a leftover may be in use by now."""
    host = host_of(run)
    facts = observe(host, frozenset(run.args.late))
    found = diff(facts, OF_STORAGE, lambda keys: host.first_seen.note(_SCOPE, keys, borrow=True))
    return {"findings": [each.to_json() for each in found], "mended": mend(host, found, run.args.keys)}


EXPLAIN_HOST = OperationType(
    rows.EXPLAIN, ExplainHostArgs, (Step("look", _look),), _locks, ephemeral=True, modifies=False
)
