"""The OpenAPI document explains every route."""

import re
from typing import Any

from asking import ask
from serving import ServiceProcess

from nbdsvc.api import faults

_METHODS = {"get", "put", "post", "delete"}


def operations(service: ServiceProcess) -> dict[str, Any]:
    """Each operation of the document by its method and path."""
    paths = ask(service, "GET", "/openapi.json")[1]["paths"]
    return {f"{method} {path}": found for path, methods in paths.items() for method, found in methods.items()}


def test_every_route_is_found_with_its_project(shared_service: ServiceProcess) -> None:
    """/v3/PROJECT/... is the same route as /v3/...: no first part of a path is taken for a project."""
    for path in ask(shared_service, "GET", "/openapi.json")[1]["paths"]:
        if path.startswith("/v3/") and len(path) > len("/v3/"):
            plain = path.replace("{", "").replace("}", "")
            found = [ask(shared_service, "PATCH", each)[0] for each in (plain, plain.replace("/v3/", "/v3/p1/", 1))]
            assert found == [405, 405], path


def test_every_route_has_a_purpose_and_its_errors(shared_service: ServiceProcess) -> None:
    """The description of every operation is a purpose, then a paragraph of errors, and neither is empty."""
    found = operations(shared_service)
    assert len(found) > 80
    for name, operation in found.items():
        purpose, _, errors = operation.get("description", "").partition("\n\nErrors: ")
        assert purpose.endswith("."), name
        assert errors.endswith("."), name


def test_errors_are_named_as_replies_name_them(shared_service: ServiceProcess) -> None:
    """Each status in the description of an operation is one that an error has, with the name of its fault."""
    known = {f"{status} {faults.NAMES.get(status, 'computeFault')}" for status in {*faults.STATUS.values(), 406}}
    for name, operation in operations(shared_service).items():
        errors = operation["description"].partition("\n\nErrors: ")[2]
        named = set(re.findall(r"\b[45][0-9]{2} [A-Za-z]+", errors))
        assert named <= known, name
        assert named or errors == "none of its own.", name
