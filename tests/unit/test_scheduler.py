"""The scheduler: pure rules for which pool takes a volume."""

from dataclasses import replace

import pytest

from nbdsvc import errors
from nbdsvc.driver import PoolStats
from nbdsvc.scheduler.candidate import Candidate, Request
from nbdsvc.scheduler.extra_specs import unmet
from nbdsvc.scheduler.rank import rank
from nbdsvc.units import GiB

POOL = PoolStats("pool", 100 * GiB, 100 * GiB, 0, 0, 0)
HAS = {
    "volume_backend_name": "fast",
    "thin_provisioning_support": True,
    "storage_protocol": ["nbd", "iSCSI"],
    "free_capacity_gb": 100.0,
}
FAST = Candidate("h", "fast", POOL, "nova", up=True, enabled=True, room=10 * GiB, capabilities=HAS)
SLOW = replace(FAST, backend="slow", room=50 * GiB, capabilities={**HAS, "volume_backend_name": "slow"})


@pytest.mark.parametrize(
    ("specs", "lacking"),
    [
        ({}, []),
        ({"volume_backend_name": "fast"}, []),
        ({"volume_backend_name": "slow"}, ["volume_backend_name"]),
        ({"volume_backend_name": "<or> slow <or> fast"}, []),
        ({"capabilities:thin_provisioning_support": "<is> True"}, []),
        ({"thin_provisioning_support": "<is> False"}, ["thin_provisioning_support"]),
        ({"storage_protocol": "iSCSI"}, []),
        ({"storage_protocol": "FC"}, ["storage_protocol"]),
        ({"free_capacity_gb": ">= 50"}, []),
        ({"free_capacity_gb": "<= 50"}, ["free_capacity_gb"]),
        ({"free_capacity_gb": ">= much"}, ["free_capacity_gb"]),
        ({"volume_backend_name": "s== fast"}, []),
        ({"volume_backend_name": "<in> as"}, []),
        ({"tier": "gold"}, ["tier"]),
        ({"qos:maxIOPS": "5", "driver:key": "x"}, []),
    ],
)
def test_extra_specs_are_demands_on_a_pool(specs: dict[str, str], lacking: list[str]) -> None:
    """Each form of a value by Cinder's rules; other scopes ask nothing of a pool, and what is not reported is not met."""
    assert unmet(specs, HAS) == lacking


def test_the_pool_with_the_most_room_comes_first() -> None:
    """Candidates are ranked by the bytes that may still be promised."""
    assert [each.backend for each in rank(Request(GiB, "nova"), [FAST, SLOW])] == ["slow", "fast"]
    assert [each.backend for each in rank(Request(GiB, "nova", {"volume_backend_name": "fast"}), [FAST, SLOW])] == [
        "fast"
    ]


@pytest.mark.parametrize(
    ("request_", "candidate", "reason"),
    [
        (Request(GiB, "elsewhere"), FAST, "no storage host in zone elsewhere is up and takes new volumes"),
        (Request(GiB, "nova"), replace(FAST, up=False), "no storage host in zone nova is up"),
        (Request(GiB, "nova"), replace(FAST, enabled=False), "no storage host in zone nova is up"),
        (Request(GiB, "nova", {"tier": "gold"}), FAST, "tier = gold"),
        (
            Request(GiB, "nova", multiattach=True),
            replace(FAST, capabilities={"multiattach": False}),
            "several attachments",
        ),
    ],
)
def test_where_no_pool_can_take_it_the_reason_is_said(request_: Request, candidate: Candidate, reason: str) -> None:
    """BackendUnavailable with what the pools that got furthest lack."""
    with pytest.raises(errors.BackendUnavailable, match=reason):
        rank(request_, [candidate])
