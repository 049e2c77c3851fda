"""The table of resources is whole: all routes of the API are found through it, and it loads only what is requested."""

import asyncio
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI

from nbdsvc import api
from nbdsvc.api.resources import MODULES, Resources

# Prints the modules of the API that a process has loaded after one request.
PROGRAM = """
import asyncio, sys
sys.path.insert(0, "tests/unit")
from test_resources import Resources, FastAPI, request
asyncio.run(request(Resources(FastAPI()), sys.argv[1]))
print(*(name for name in sys.modules if name.startswith("nbdsvc.api.")))
"""


def _routers() -> dict[str, APIRouter]:
    """By their modules' names in the folder."""
    (folder,) = api.__path__
    names = [path.stem for path in Path(folder).glob("*.py")]
    found = {name: getattr(importlib.import_module(f"nbdsvc.api.{name}"), "router", None) for name in names}
    return {name: router for name, router in found.items() if isinstance(router, APIRouter)}


async def request(resources: Resources, path: str) -> None:
    """GET, without a socket; the reply is of no interest."""
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "headers": [],
             "query_string": b"", "scheme": "http", "server": ("h", 80), "root_path": "", "http_version": "1.1"}  # fmt: skip

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Any) -> None:
        pass

    await resources(scope, receive, send)


def _key(path: str) -> str:
    """The key of MODULES for the path of a route."""
    parts = path.split("/")
    longer = f"{parts[1]}/{parts[-1]}"
    return longer if longer in MODULES else parts[1]


def test_every_route_is_loaded_with_its_resource() -> None:
    """A module stands at each first segment of its routes' paths, or at it and their last one, and nowhere else."""
    found = {
        (_key(str(getattr(route, "path", ""))), name) for name, router in _routers().items() for route in router.routes
    }
    assert found == {(segment, name) for segment, names in MODULES.items() for name in names}


def test_the_document_has_the_routes_of_all_resources() -> None:
    """Whatever was requested before, the OpenAPI document names a path of each resource."""
    made = FastAPI()
    resources = Resources(made)
    for path in ("/v3/groups/none/none/none", "/openapi.json"):
        asyncio.run(request(resources, path))
    assert {_key(path.removeprefix("/v3")) for path in made.openapi()["paths"]} == set(MODULES)


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("none/none/none", ["volumes"]),
        ("1/action", ["volumes", "volumes/action"]),
        ("1/action/", ["volumes", "volumes/action"]),
    ],
)
def test_a_request_loads_its_own_resource(path: str, keys: list[str]) -> None:
    """In a new process: the routes of volumes after a request for them, and none of groups, backups or actions."""
    argv = [sys.executable, "-c", PROGRAM, f"/v3/volumes/{path}"]
    ran = subprocess.run(argv, capture_output=True, text=True, check=True)
    loaded = {name.removeprefix("nbdsvc.api.") for name in ran.stdout.split()}
    assert loaded & set(_routers()) == {name for key in keys for name in MODULES[key]}
