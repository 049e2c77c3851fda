"""/os-services/lost, take-over and return (ours, not Cinder's): a host that never returns, its volumes, its name's return."""

from dataclasses import asdict

from fastapi.responses import JSONResponse, Response

from nbdsvc.api import strict
from nbdsvc.api.request import Body, CurrentRequest, Key, answer
from nbdsvc.backends.lost_host import declare_lost, let_return
from nbdsvc.backends.take_over import take_over

router = strict.router("services")


class LostBody(Body):
    """A host. fenced: it cannot write to any volume any more."""

    host: Key
    fenced: bool = False


class TakeOverBody(LostBody):
    """A host that was declared lost, or is now; by: the host that takes over."""

    by: Key | None = None


class ReturnBody(Body):
    """A host that was declared lost."""

    host: Key


@router.put("/os-services/lost")
def declare(request: CurrentRequest, body: LostBody) -> JSONResponse:
    """Declare a host lost, which is off and never returns: its operations and attachments end, and nothing waits for it.
    Replies how many there were, after at most the host's `claim_seconds`. For administrators. Not in Cinder.

    Errors: 400 badRequest (fenced is not true); 403 forbidden (the caller is no administrator); 404 itemNotFound (host); 409
    conflictingRequest (the host is alive).
    """
    return answer({"lost": asdict(declare_lost(request.app, body.host, fenced=body.fenced))})


@router.put("/os-services/take-over")
def take_volumes_over(request: CurrentRequest, body: TakeOverBody) -> JSONResponse:
    """Let another host of the cluster serve the volumes of a lost host that are on storage which both see, without a copy:
    `by`, or the living one with the fewest volumes. Their attachments are exported there, and show its address; operations
    go on there. fenced: declare the host lost first. Replies what was taken over, of each backend. For administrators. Not in
    Cinder.

    Errors: 400 badRequest (the host is not lost, or in no cluster; by); 403 forbidden (the caller is no administrator); 404
    itemNotFound (host); 409 conflictingRequest (the host is alive; no other one is; another one has taken over).
    """
    taken = take_over(request.app, body.host, body.by, fenced=body.fenced)
    return answer({"taken_over": [asdict(each) for each in taken]})


@router.put("/os-services/return")
def let_host_return(request: CurrentRequest, body: ReturnBody) -> Response:
    """Let the next machine that starts under the name of a lost host be that host. For administrators. Not in Cinder.

    Errors: 400 badRequest (the host is not lost); 403 forbidden (the caller is no administrator); 404 itemNotFound (host).
    """
    let_return(request.app, body.host)
    return Response()
