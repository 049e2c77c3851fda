"""/scheduler-stats/placement (ours, not Cinder's): which pool a new volume would get, and why not the others."""

import re
from typing import Any

from fastapi.responses import JSONResponse

from nbdsvc import errors
from nbdsvc.api import strict
from nbdsvc.api.request import CurrentRequest, answer
from nbdsvc.scheduler.candidate import Candidate
from nbdsvc.scheduler.decide import Decision
from nbdsvc.units import shown_gigabytes
from nbdsvc.volumes.explain_placement import PlacementQuestion, explain_placement

router = strict.router("pools")


@router.get("/scheduler-stats/placement")
def explain(request: CurrentRequest) -> JSONResponse:
    """Show what would become of a new volume of `size` GiB, `volume_type` and `availability_zone`: each pool, best first,
    with its weight or the filter that turns it down. `without`: pools and backends to leave out. For administrators. Not
    in Cinder.

    Errors: 400 badRequest (size, zone); 403 forbidden (the caller is no administrator); 404 itemNotFound (type).
    """
    query = request.query
    question = PlacementQuestion(
        _size(query.get("size", "")),
        query.get("volume_type") or None,
        query.get("availability_zone") or None,
        tuple(each for each in query.get("without", "").split(",") if each),
    )
    return answer({"placement": _view(explain_placement(request.app, request.context, question))})


def _size(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or not int(text):
        raise errors.InvalidInput(field="size", value=text[:80], reason="must be a number of GiB, 1 or more")
    return int(text)


def _view(decision: Decision) -> dict[str, Any]:
    passed = [_pool(pool, passes=True, weight=round(weight, 4)) for pool, weight in decision.ranked]
    refused = [
        _pool(each.candidate, passes=False, filter=each.filter.name, reason=each.reason)
        for each in decision.refused_last_first
    ]
    return {"pools": passed + refused}


def _pool(pool: Candidate, **found: Any) -> dict[str, Any]:
    free, total = shown_gigabytes(pool.pool.free), shown_gigabytes(pool.pool.total)
    sizes = {"free_capacity_gb": free, "total_capacity_gb": total}
    return {"name": pool.full_name, "passes": None, "weight": None, **sizes, "filter": None, "reason": None, **found}
