"""Agents of all hosts, a clean service for each test, and the check that nothing is left behind."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rig import install, iscsi, storage
from rig.agent import Agent
from rig.fleet import FLEET, Fleet
from rig.product import Initiator, Service, disconnect_all


@pytest.fixture(scope="session")
def agents() -> Iterator[dict[str, Agent]]:
    """One agent for each host, with the product installed on the host."""
    made = install.agents(Fleet.load(Path(os.environ[FLEET])))
    yield made
    for agent in made.values():
        agent.close()


@pytest.fixture
def make_service(agents: dict[str, Agent]) -> Iterator[Callable[..., Service]]:
    """Starts the service of the storage host with given settings; it is removed afterwards and must leave nothing."""
    made: list[Service] = []

    def make(**settings: Any) -> Service:
        service = Service(agents["storage"], **settings)
        _clean(service, agents)
        service.start()
        made.append(service)
        return service

    yield make
    for service in made:
        left = leftovers(service, agents)
        _clean(service, agents)
        assert left == []


def _clean(service: Service, agents: dict[str, Agent]) -> None:
    """Clean all hosts, initiators first: a session that has lost its target waits for it."""
    for agent in agents.values():
        iscsi.stop_initiator(agent)
        disconnect_all(agent)
    service.wipe()
    iscsi.clear(service.agent)


@pytest.fixture
def group(agents: dict[str, Agent]) -> Iterator[str]:
    """A volume group on the storage host, which outlives the services of the test."""
    iscsi.clear(agents["storage"])  # LVs that LIO holds open cannot be removed
    yield storage.make_group(agents["storage"])
    storage.remove_group(agents["storage"])


@pytest.fixture
def make_iscsi(group: str, make_service: Callable[..., Service], agents: dict[str, Agent]) -> Callable[..., Service]:
    """A service with LVM and LIO; its initiators' daemons run."""

    def make(*portals: str, **settings: Any) -> Service:
        for name in ("hyper1", "hyper2"):
            iscsi.start_initiator(agents[name])
        given = {"EXPORTER": "lio", "DRIVER": "lvm", "BACKEND": "lvm", "DRIVER_OPTIONS": f"volume_group = '{group}'",
                 "ISCSI_PORTALS": ",".join(portals or [agents["storage"].host.address]), **settings}  # fmt: skip
        return make_service(**given)

    return make


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    """A service with the default settings."""
    return make_service()


@pytest.fixture
def local(agents: dict[str, Agent], service: Service) -> Initiator:
    """The storage host as its own initiator."""
    return Initiator(agents["storage"], service)


def leftovers(service: Service, agents: dict[str, Agent]) -> list[str]:
    """Objects without an owner on any host: devices, mounts, units, processes, files, locks."""
    attachments = {row["id"] for row in service.call("GET", "attachments")["attachments"]}
    found = []
    for name, agent in agents.items():
        connected = agent.shell("for d in /sys/block/nbd*; do [ -e $d/pid ] && cat $d/backend; done; true").split()
        found += [f"{name}: nbd device of {id}" for id in connected if id not in attachments]
        found += [f"{name}: {line}" for line in agent.shell("ls /run/nbdsvc/attached 2> /dev/null || true").split()]
        found += [f"{name}: {line}" for line in iscsi.remains(agent)]
    host = service.agent
    volumes = {row["volume_id"] for row in service.call("GET", "attachments")["attachments"]}
    found += [f"LIO has {each}" for each in iscsi.configured(host) if not any(id in each for id in volumes)]
    units = host.shell("systemctl list-units --all --plain --no-legend 'nbdsvc-export-*' | cut -d' ' -f1").split()
    owned = {f"nbdsvc-export-{id}.scope" for id in attachments}
    found += [f"unit {unit}" for unit in units if unit not in owned]
    return found + service.staying()
