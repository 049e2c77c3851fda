"""The application: routes, version documents, health, metrics; faults for everything that goes wrong."""

from typing import Any

import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from nbdsvc import errors
from nbdsvc.api import faults, metrics, microversions
from nbdsvc.api.actions import invalid
from nbdsvc.api.auth import Authenticator
from nbdsvc.api.middleware import ApiMiddleware
from nbdsvc.api.resources import Resources
from nbdsvc.app import App
from nbdsvc.model.context import ANONYMOUS
from nbdsvc.policy.policy import Policy

log = structlog.get_logger(__name__)

_UPDATED = "2026-11-27T00:00:00Z"
# The errors that every route may reply because of the middleware; a route's docstring names only its own.
_DESCRIPTION = """Block volumes, compatible with Cinder's block-storage API v3.

Every route may reply 400 badRequest (a malformed body or microversion; a change of what is on a frozen backend),
401 unauthorized (the token), 403 forbidden (the rule that the message names), 404 itemNotFound (the path), 405 badMethod,
406 computeFault (a microversion that is not served), 413 overLimit (the body is too large, or the project has too many
unfinished operations), 415 badMediaType,
500 computeFault (our fault; it is logged) and 503 serviceUnavailable (the database, or Keystone). Each names its own errors.
"""


def create(app: App, authenticator: Authenticator, policy: Policy) -> ApiMiddleware:
    """The ASGI application for these use cases."""
    version = microversions.text(microversions.MAXIMUM)
    # A path like volumes/ (with an empty id) must not list volumes; and a redirect would lose the project.
    made = FastAPI(
        title="nbdsvc", description=_DESCRIPTION, version=version, redoc_url=None, docs_url=None, redirect_slashes=False
    )
    made.state.app = app
    made.include_router(_root(app))
    made.add_exception_handler(errors.Error, _on_error)
    made.add_exception_handler(RequestValidationError, _on_invalid)
    made.add_exception_handler(HTTPException, _on_http)
    made.add_exception_handler(Exception, _on_bug)
    return ApiMiddleware(Resources(made), authenticator, policy, app.settings.max_body)


def _root(app: App) -> APIRouter:
    router = APIRouter(tags=["versions"])

    @router.get("/", status_code=300)
    def versions(request: Request) -> JSONResponse:
        """Show the versions of the API; without a token.

        Errors: none of its own.
        """
        return JSONResponse({"versions": [_version(request)]}, 300)

    @router.get("/v3", include_in_schema=False)
    def redirect(request: Request) -> Response:
        """Redirect to the version document; without a token.

        Errors: none of its own.
        """
        # Absolute, because keystoneauth follows redirects by hand and does not join them.
        return RedirectResponse(str(request.base_url).rstrip("/") + "/v3/", 302)

    @router.get("/v3/")
    def version(request: Request) -> JSONResponse:
        """Show the document of version 3; without a token.

        Errors: none of its own.
        """
        return JSONResponse({"versions": [_version(request)]})

    @router.get("/healthcheck")
    def health() -> PlainTextResponse:
        """Reply OK while the database answers; without a token.

        Errors: 503 serviceUnavailable (the database does not answer).
        """
        with app.database.read():
            return PlainTextResponse("OK")

    @router.get("/metrics")
    def numbers() -> PlainTextResponse:
        """Show the metrics in the text format of Prometheus; without a token.

        Errors: 503 serviceUnavailable (the database does not answer).
        """
        return PlainTextResponse(metrics.render(app))

    return router


def _version(request: Request) -> dict[str, Any]:
    href = str(request.base_url).rstrip("/") + "/v3/"
    return {
        "id": "v3.0",
        "status": "CURRENT",
        "version": microversions.text(microversions.MAXIMUM),
        "min_version": microversions.text(microversions.MINIMUM),
        "updated": _UPDATED,
        "links": [{"rel": "self", "href": href}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}],
    }


def _fault(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(faults.body(status, message), status, headers)


def _on_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.Error)
    context = getattr(request.state, "context", ANONYMOUS)
    if not isinstance(error, errors.RequestError):
        log.warning("refused", path=request.url.path, request=context.request_id, reason=str(error))
    status, message = faults.status_of(error), faults.message(error, everything=context.is_admin)
    return _fault(status, message, faults.headers(error))


def _on_invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return _fault(400, faults.message(invalid(error.errors())))


def _on_http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    messages = {404: "The resource could not be found.", 405: "This method is not allowed here."}
    return _fault(error.status_code, messages.get(error.status_code, str(error.detail)))


def _on_bug(request: Request, error: Exception) -> JSONResponse:
    log.error("bug", path=request.url.path, reason=repr(error))
    return _fault(500, "An internal error happened; it was logged.")
