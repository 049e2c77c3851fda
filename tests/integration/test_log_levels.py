"""The log levels of running processes, set and read through the API, also of hosts that meet it in the database only."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asking import ask
from postgres import Postgres
from serving import ServiceProcess
from waiting import wait_until

VERSION = {"OpenStack_API_Version": "volume 3.32"}
ENGINE = "nbdsvc.operations.engine"


@pytest.fixture(params=["one process", "sqlite", "postgresql"])
def processes(
    request: pytest.FixtureRequest, make_service: Callable[..., ServiceProcess], postgres: Postgres
) -> Iterator[tuple[ServiceProcess, ServiceProcess]]:
    """The one that answers requests, and the one that works: both, or apart on either database."""
    if request.param == "one process":
        made = make_service()
        yield made, made
        return
    host = make_service("h", start=False)
    host.role = "host"
    if request.param == "postgresql":
        host.settings["DATABASE"] = postgres.database()
    else:
        host.settings["DATABASE"] = str(host.state / "shared.db")
    host.start()
    api = make_service("a", start=False, database=host.settings["DATABASE"], HOST="api1")
    api.role = "api"
    yield api.start(), host


def levels(api: ServiceProcess, **body: str) -> dict[str, Any]:
    status, content, _ = ask(api, "PUT", "/v3/os-services/get-log", body, **VERSION)
    assert status == 200, content
    return {f"{each['binary']} {each['host']}": each["levels"] for each in content["log_levels"]}


def set_levels(api: ServiceProcess, **body: str) -> int:
    return ask(api, "PUT", "/v3/os-services/set-log", body, **VERSION)[0]


def operate(api: ServiceProcess) -> None:
    """An operation, whose end the engine logs at level info."""
    volume = api.client().post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    assert api.wait_status("volumes", volume) == "available"


def test_levels_of_a_running_host(processes: tuple[ServiceProcess, ServiceProcess]) -> None:
    """What is below the level is not written from then on, and what is not is written again; both processes are read."""
    api, host = processes
    address = str(api.settings["HOST"])
    assert set(levels(api)) == {f"cinder-api {address}", "cinder-volume me@file"}
    operate(api)
    wait_until(lambda: "operation ended" in host.log.read_text())
    assert set_levels(api, level="error", binary="cinder-volume", prefix="nbdsvc.operations") == 202
    wait_until(lambda: levels(api, prefix=ENGINE)["cinder-volume me@file"] == {ENGINE: "ERROR"})
    before = host.log.read_text().count("operation ended")
    operate(api)
    api.settle()
    assert host.log.read_text().count("operation ended") == before
    assert set_levels(api, level="DEBUG") == 202
    wait_until(lambda: levels(api, prefix=ENGINE)["cinder-volume me@file"] == {ENGINE: "DEBUG"})
    assert set(levels(api, binary="cinder-api")[f"cinder-api {address}"].values()) == {"DEBUG"}
    operate(api)
    wait_until(lambda: host.log.read_text().count("operation ended") > before)


def test_one_binary_or_server(processes: tuple[ServiceProcess, ServiceProcess]) -> None:
    """Others are neither read nor changed; what there is not is an empty list; a wrong level or binary is refused."""
    api, _host = processes
    address = str(api.settings["HOST"])
    assert set(levels(api, binary="cinder-volume")) == {"cinder-volume me@file"}
    assert "cinder-volume me@file" in levels(api, server="me")
    assert levels(api, binary="cinder-scheduler") == {}
    assert levels(api, server="elsewhere") == {}
    assert levels(api, prefix="no.such.logger")[f"cinder-api {address}"] == {}
    assert set_levels(api, level="warning", binary="cinder-scheduler") == 202
    assert set(levels(api, binary="cinder-api")[f"cinder-api {address}"].values()) == {"INFO"}
    assert set_levels(api, level="loud") == 400
    assert set_levels(api, level="info", binary="cinder-cinder") == 400
    assert ask(api, "PUT", "/v3/os-services/set-log", {"level": "info"})[0] == 404  # not found before microversion 3.32
