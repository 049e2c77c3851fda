"""The scheduler: pure rules for which pool takes a volume."""

import math
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdsvc import config, errors
from nbdsvc.driver import Capacity, PoolStats
from nbdsvc.driver.stats import Limitless
from nbdsvc.scheduler import extra_specs
from nbdsvc.scheduler.candidate import Candidate, Nearness, Request
from nbdsvc.scheduler.decide import decide, judge
from nbdsvc.scheduler.extra_specs import demands, unmet
from nbdsvc.scheduler.filters import FILTERS
from nbdsvc.scheduler.functions import goodness
from nbdsvc.scheduler.weighers import WEIGHERS, normalise
from nbdsvc.units import GiB

POOL = PoolStats("pool", 100 * GiB, 100 * GiB, 0, 0, 0)
HAS = {
    "volume_backend_name": "fast",
    "thin_provisioning_support": True,
    "storage_protocol": ["nbd", "iSCSI"],
    "free_capacity_gb": 100.0,
    "tags": ["aes", "ssd-fast"],
    "vendor": {"disk": {"kind": "ssd"}},
    "prefix:compression": True,
}
FAST = Candidate("h", "fast", POOL, "nova", up=True, enabled=True, room=10 * GiB, capabilities=HAS)
SLOW = replace(FAST, backend="slow", room=50 * GiB, capabilities={**HAS, "volume_backend_name": "slow"})
ONE = Request(GiB, "nova")
BY_ROOM = {"capacity": 1.0}


@pytest.mark.parametrize(
    ("specs", "lacking"),
    [
        ({}, []),
        ({"volume_backend_name": "fast"}, []),
        ({"volume_backend_name": "slow"}, ["volume_backend_name"]),
        ({"volume_backend_name": "<or> slow <or> fast"}, []),
        ({"volume_backend_name": "<or> slow"}, ["volume_backend_name"]),
        ({"capabilities:thin_provisioning_support": "<is> True"}, []),
        ({"thin_provisioning_support": "<is> False"}, ["thin_provisioning_support"]),
        ({"storage_protocol": "iSCSI"}, []),
        ({"storage_protocol": "FC"}, ["storage_protocol"]),
        ({"free_capacity_gb": "= 50"}, []),
        ({"free_capacity_gb": "= 101"}, ["free_capacity_gb"]),
        ({"free_capacity_gb": "== 100"}, []),
        ({"free_capacity_gb": "== 99"}, ["free_capacity_gb"]),
        ({"free_capacity_gb": "!= 99"}, []),
        ({"free_capacity_gb": "!= 100"}, ["free_capacity_gb"]),
        ({"free_capacity_gb": ">= 50"}, []),
        ({"free_capacity_gb": "<= 100"}, []),
        ({"free_capacity_gb": "<= 50"}, ["free_capacity_gb"]),
        ({"free_capacity_gb": ">= 101"}, ["free_capacity_gb"]),
        ({"free_capacity_gb": ">= much"}, ["free_capacity_gb"]),
        ({"volume_backend_name": "s== fast"}, []),
        ({"volume_backend_name": "s== fas"}, ["volume_backend_name"]),
        ({"volume_backend_name": "s!= slow"}, []),
        ({"volume_backend_name": "s!= fast"}, ["volume_backend_name"]),
        ({"volume_backend_name": "s< g"}, []),
        ({"volume_backend_name": "s< a"}, ["volume_backend_name"]),
        ({"volume_backend_name": "s<= fast"}, []),
        ({"volume_backend_name": "s<= a"}, ["volume_backend_name"]),
        ({"volume_backend_name": "s> e"}, []),
        ({"volume_backend_name": "s> fast"}, ["volume_backend_name"]),
        ({"volume_backend_name": "s>= fast"}, []),
        ({"volume_backend_name": "s>= g"}, ["volume_backend_name"]),
        ({"volume_backend_name": "<in> as"}, []),
        ({"volume_backend_name": "<in> os"}, ["volume_backend_name"]),
        ({"tags": "<all-in> aes ssd"}, []),
        ({"tags": "<all-in> aes <all-in> ssd"}, []),
        ({"tags": "<all-in> aes mmx"}, ["tags"]),
        ({"tags": "<in> ssd"}, []),
        ({"capabilities:vendor:disk:kind": "ssd"}, []),
        ({"capabilities:vendor:disk:kind": "hdd"}, ["vendor:disk:kind"]),
        ({"capabilities:vendor:tape:kind": "x"}, ["vendor:tape:kind"]),
        ({"capabilities:prefix:compression": "<is> True"}, []),
        ({"tier": "gold"}, ["tier"]),
        ({"qos:maxIOPS": "5", "driver:key": "x"}, []),
    ],
)
def test_extra_specs_are_demands_on_a_pool(specs: dict[str, str], lacking: list[str]) -> None:
    """Each form of a value by Cinder's rules; other scopes demand nothing of a pool, and what is not reported is not met."""
    assert unmet(demands(specs), HAS) == lacking


def choose(request: Request, pools: list[Candidate]) -> Candidate:
    return decide(request, pools, BY_ROOM).best


def of(candidate: Candidate, **changes: Any) -> Candidate:
    return replace(candidate, **changes)


@pytest.mark.row("S078")
@pytest.mark.parametrize(
    ("request_", "candidate", "name", "reason"),
    [
        (replace(ONE, zone="b"), FAST, "AvailabilityZoneFilter", "zone b requested, this is zone nova"),
        (ONE, of(FAST, up=False), "BackendStateFilter", "the backend is down"),
        (ONE, of(FAST, enabled=False), "BackendStateFilter", "the backend is disabled or frozen and takes no new volumes"),
        (ONE, of(FAST, out_of_reach="host h takes no volumes"), "ReachableHostFilter", "host h takes no volumes"),
        (replace(ONE, attempted=frozenset({"h@fast#pool"})), FAST, "IgnoreAttemptedHostsFilter", "it is excluded from this choice"),
        (replace(ONE, attempted=frozenset({"h@fast"})), FAST, "IgnoreAttemptedHostsFilter", "it is excluded from this choice"),
        (replace(ONE, near=Nearness(same_backends=frozenset({"h@slow"}))), FAST, "SameBackendFilter", "a backend of the volumes in same_host requested: h@slow"),
        (replace(ONE, near=Nearness(different_backends=frozenset({"h@fast"}))), FAST, "DifferentBackendFilter", "another backend than this one requested: it has a volume of different_host"),
        (replace(ONE, near=Nearness(local_hosts=frozenset("gkabcdef"))), FAST, "InstanceLocalityFilter", "the host of the instance requested: a, b, c, d, e ..."),
        (replace(ONE, extra_specs={"tier": "gold"}), FAST, "CapabilitiesFilter", "tier = gold requested, this reports no such capability"),
        (replace(ONE, extra_specs={"volume_backend_name": "x"}), FAST, "CapabilitiesFilter", "volume_backend_name = x requested, this has fast"),
        (replace(ONE, multiattach=True), of(FAST, capabilities={"multiattach": False}), "CapabilitiesFilter", "several attachments requested, this allows one"),
        (replace(ONE, limited=True), of(FAST, capabilities={"storage_protocol": ["iSCSI", "nbd"]}), "QosFilter", "the QoS specs of the type are for the back end, and exports by iSCSI, nbd cannot keep clients to them"),
        (replace(ONE, limited=True, extra_specs={"storage_protocol": "iSCSI"}), of(FAST, capabilities={"storage_protocol": ["iSCSI", "nbd"]}, limiting=("nbd",)), "QosFilter", "the QoS specs of the type are for the back end, and exports by iSCSI cannot keep clients to them"),
        (ONE, of(FAST, filter_function="volume.size < 1"), "DriverFilter", "the backend's filter_function is false: volume.size < 1"),
        (ONE, of(FAST, filter_function="1 / 0"), "DriverFilter", "Setting filter_function: division by zero"),
        (ONE, of(FAST, filter_function="1 +"), "DriverFilter", "Setting filter_function: column 4: something is missing at the end"),
        (
            replace(ONE, size=12 * GiB),
            of(FAST, room=0, pool=PoolStats("pool", 100 * GiB, int(3.44 * GiB), 96 * GiB, 0, 0, reserved_percentage=5, thin=False)),
            "CapacityFilter",
            "12 GiB requested, 3.4 GiB free of 100, 5 % reserved: 0 GiB may be promised",
        ),
        (
            replace(ONE, size=12 * GiB),
            of(FAST, promised=190 * GiB, pool=replace(POOL, max_over_subscription_ratio=2.0)),
            "CapacityFilter",
            "12 GiB requested, 100 GiB free of 100, 190 promised, at most 2 times the size: 10 GiB may be promised",
        ),
    ],
)  # fmt: skip
def test_a_refusal_is_the_first_filter_with_its_numbers(
    request_: Request, candidate: Candidate, name: str, reason: str
) -> None:
    """Each filter says what the pool lacks, with what was requested and what there is."""
    refusal = judge(request_, candidate)
    assert refusal is not None
    assert (refusal.filter.name, refusal.reason) == (name, reason)
    assert judge(ONE, FAST) is None


@pytest.mark.row("S078", "S079")
@pytest.mark.parametrize(
    ("function", "passes", "score"),
    [
        (None, True, 0),
        ("volume.size < 5", True, 100),
        ("volume.size > 5", False, 0),
        ("50.5", True, 50.5),
        ("100", True, 100),
        ("101", True, 0),
        ("0 - 1", True, 0),
        ("0", False, 0),
        ("'yes'", True, 0),
        ("1 / 0", False, 0),
        ("extra.tier == 'gold'", False, 0),
        ("stats.storage_protocol == 'nbd'", True, 100),
        ("stats.storage_protocol == 'iSCSI'", True, 100),
        ("capabilities.storage_protocol == 'iSCSI' ? 70 : 20", True, 70),
        ("stats.storage_protocol == 'FC'", False, 0),
        ("stats.host == 'h@fast#pool' and stats.backend_id == 'h@fast' and stats.pool_name == 'pool'", True, 100),
        (
            "stats.total_capacity_gb == 100 and stats.free_capacity_gb == 100 and stats.allocated_capacity_gb == 0",
            True,
            100,
        ),
    ],
)
def test_functions_of_a_backend_decide_and_score(function: str | None, passes: bool, score: float) -> None:
    """No filter passes, no goodness scores 0; an error fails and scores 0; true is 100; any transport of several may pass."""
    candidate = replace(FAST, filter_function=function, goodness_function=function)
    assert (judge(ONE, candidate) is None) is passes
    assert goodness(candidate, ONE) == score


def test_the_pool_with_the_most_room_comes_first() -> None:
    """Pools are ranked by the bytes that may still be promised; of two with the same, the later name is first."""
    assert [each.backend for each, _ in decide(ONE, [FAST, SLOW], BY_ROOM).ranked] == ["slow", "fast"]
    assert decide(ONE, [FAST, replace(SLOW, room=FAST.room)], BY_ROOM).best.backend == "slow"
    only = replace(ONE, extra_specs={"volume_backend_name": "fast"})
    assert decide(only, [FAST, SLOW], BY_ROOM).best is FAST


@pytest.mark.parametrize(
    ("weights", "best"),
    [
        ({"capacity": 1.0}, "slow"),
        ({"capacity": -1.0}, "fast"),
        ({"allocated_capacity": -1.0}, "fast"),
        ({"allocated_capacity": 1.0}, "slow"),
        ({"volume_number": -1.0}, "slow"),
        ({"volume_number": 1.0}, "fast"),
        ({"goodness": 1.0}, "fast"),
        ({"goodness": 1.0, "capacity": 2.0}, "slow"),
        ({}, "slow"),
    ],
)
def test_weighers_decide_by_their_multipliers(weights: dict[str, float], best: str) -> None:
    """Each weigher counts from 0 to 1 over the pools, times its multiplier, whatever its unit."""
    fast = replace(FAST, promised=GiB, pool=replace(POOL, volumes=9), goodness_function="90")
    slow = replace(SLOW, promised=2 * GiB, pool=replace(POOL, volumes=1), goodness_function="10")
    assert decide(ONE, [fast, slow], weights).best.backend == best


@pytest.mark.parametrize("thin", [True, False])
@pytest.mark.parametrize(
    ("total", "free", "reserved", "room"),
    [
        ("infinite", "infinite", 0, math.inf),
        ("unknown", "unknown", 5, math.inf),
        (100 * GiB, "unknown", 5, math.inf),
        ("infinite", 3 * GiB, 0, math.inf),
        ("unknown", 3 * GiB, 5, 0),
    ],
)
def test_a_capacity_that_is_no_number(
    total: Capacity, free: Capacity, reserved: int, room: float, *, thin: bool
) -> None:
    """It passes, as in Cinder, but where a part of it is to be reserved and only what is free is a number."""
    pool = PoolStats("pool", total, free, 0, 0, 0, reserved, thin=thin)
    assert pool.room() == room
    refusal = judge(ONE, of(FAST, pool=pool, room=pool.room()))
    assert (refusal is None) is bool(room)
    if refusal:
        assert refusal.reason == (
            "1 GiB requested, 3 GiB free of unknown, 5 % reserved: a part of a capacity that is unknown cannot be reserved"
        )


@pytest.mark.parametrize("multiplier", [1.0, -1.0])
@pytest.mark.parametrize("word", ["infinite", "unknown"])
def test_a_pool_without_numbers_weighs_least(word: Limitless, multiplier: float) -> None:
    """Whether volumes are spread or packed, a pool that knows its room goes before one whose room is no number, as in Cinder."""
    endless = of(FAST, backend="endless", pool=PoolStats("pool", word, word, 0, 0, 0), room=math.inf)
    found = decide(ONE, [SLOW, endless, FAST], {"capacity": multiplier}).ranked
    assert [each.backend for each, _ in found][-1] == "endless"
    assert all(math.isfinite(weight) for _, weight in found)
    assert decide(replace(ONE, size=1000 * GiB), [SLOW, endless], {"capacity": multiplier}).best is endless


def test_chance_is_decided_by_the_seed() -> None:
    """The same seed chooses the same pool, and other seeds choose each of them now and then."""

    def chosen(seed: str) -> str:
        return decide(replace(ONE, seed=seed), [FAST, SLOW], {"chance": 1.0}).best.backend

    assert [chosen("a")] * 5 == [chosen("a") for _ in range(5)]
    assert {chosen(str(number)) for number in range(50)} == {"fast", "slow"}


def test_the_settings_know_the_weighers() -> None:
    """scheduler_weights takes numbers for the weighers that there are, and a wrong one is named."""
    assert set(config.WEIGHERS) == set(WEIGHERS)
    assert config.load(environment={"NBDSVC_SCHEDULER_WEIGHTS": "chance = 2"}).scheduler_weights == {"chance": 2}
    for wrong in ("luck = 1", "capacity = 'x'", "capacity = nan", "capacity = true"):
        with pytest.raises(errors.ConfigError, match="scheduler_weights"):
            config.load(environment={"NBDSVC_SCHEDULER_WEIGHTS": wrong})


def test_weights_lie_between_0_and_1() -> None:
    """The least is 0, the most 1, and where all are the same none counts."""
    assert normalise([10, 20, 15]) == [0, 1, 0.5]
    assert normalise([7, 7]) == [0, 0]
    assert normalise([]) == []


def test_a_refusal_names_each_pool_and_why() -> None:
    """An administrator reads every pool with its filter; a project reads neither a name nor a number."""
    with pytest.raises(errors.NoValidBackend) as raised:
        choose(replace(ONE, zone="b"), [FAST, replace(SLOW, up=False)])
    text = str(raised.value)
    assert text.startswith("No valid backend: h@fast#pool: AvailabilityZoneFilter: zone b requested")
    assert "h@slow#pool: AvailabilityZoneFilter" in text
    assert raised.value.message_for_user(everything=False) == "No valid backend was found."
    with pytest.raises(errors.NoValidBackend, match="no storage host has reported a pool"):
        choose(ONE, [])


def test_lack_of_room_alone_is_an_error_of_its_own() -> None:
    """Where a pool would take a smaller volume, the error is NoRoom with what the roomiest has; it hides as much."""
    with pytest.raises(errors.NoRoom) as raised:
        choose(replace(ONE, size=60 * GiB), [replace(FAST, up=False), SLOW])
    assert (raised.value.pool, raised.value.facts["free"]) == ("h@slow#pool", 50 * GiB)
    assert "h@slow#pool: CapacityFilter: 60 GiB requested" in str(raised.value)
    assert raised.value.message_for_user(everything=False) == "No valid backend was found."


def test_a_refusal_is_bounded() -> None:
    """However many pools there are, the error has a bounded length and says how many it leaves out."""
    many = [replace(FAST, backend=f"b{number}", up=False) for number in range(500)]
    with pytest.raises(errors.NoValidBackend, match=r"; and \d+ more pools$") as raised:
        choose(ONE, many)
    assert len(str(raised.value)) < 1700


def _cases(test: Any) -> list[Any]:
    return next(list(mark.args[1]) for mark in test.pytestmark if mark.name == "parametrize")


def test_no_operator_filter_or_weigher_is_without_a_case() -> None:
    """Each operator of extra specs is met in one case above and not in another, each filter refuses, each weigher decides."""
    values = [
        (value.split()[0], bool(lacking))
        for specs, lacking in _cases(test_extra_specs_are_demands_on_a_pool)
        for value in specs.values()
    ]
    for verb in (*extra_specs.OPERATORS, "<is>", "<in>", "<all-in>", "<or>"):
        assert {lacks for each, lacks in values if each == verb} == {True, False}, verb
    refusing = {
        name for _request, _candidate, name, _reason in _cases(test_a_refusal_is_the_first_filter_with_its_numbers)
    }
    assert refusing == {each.name for each in FILTERS}
    weighed = {name for weights, _best in _cases(test_weighers_decide_by_their_multipliers) for name in weights}
    assert weighed | {"chance"} == set(WEIGHERS)  # chance has a test of its own


_POOLS = st.builds(
    Candidate,
    host=st.just("h"),
    backend=st.sampled_from("abcdef"),
    pool=st.builds(
        PoolStats, st.just("p"), st.just(100 * GiB), st.integers(0, 100).map(lambda n: n * GiB),
        st.integers(0, 300).map(lambda n: n * GiB), st.just(0), st.integers(0, 9),
        reserved_percentage=st.integers(0, 100), max_over_subscription_ratio=st.floats(1, 20), thin=st.booleans(),
    ),
    zone=st.sampled_from(["nova", "b"]),
    up=st.booleans(),
    enabled=st.booleans(),
    room=st.integers(0, 100 * GiB),
    filter_function=st.sampled_from([None, "stats.free_capacity_gb > 5", "volume.size < 50"]),
)  # fmt: skip


@given(_POOLS, st.integers(0, 200), st.integers(0, 100))
def test_more_free_space_never_makes_a_passing_pool_fail(pool: Candidate, size: int, more: int) -> None:
    """A pool that takes a volume takes it with more space too, and a smaller volume as well."""
    with_room = replace(pool, room=pool.pool.room())
    request = Request(size * GiB, "nova")
    assert isinstance(pool.pool.free, int)
    assert isinstance(pool.pool.total, int)
    larger = replace(pool.pool, free=pool.pool.free + more * GiB, total=pool.pool.total + more * GiB)
    if judge(request, with_room) is None:
        assert judge(request, replace(pool, pool=larger, room=larger.room())) is None
        assert judge(replace(request, size=request.size // 2), with_room) is None


@given(st.lists(_POOLS, min_size=1, max_size=6), st.integers(0, 100), st.integers(0, 100), st.randoms())
def test_a_decision_is_monotone_in_capacity(pools: list[Candidate], size: int, more: int, chance: Random) -> None:
    """A pool that is given more room is ranked no worse than before, against every other; and what was chosen stays so."""
    request = Request(size * GiB, "nova")
    names = [replace(each, host=f"h{number}") for number, each in enumerate(pools)]
    lucky = chance.randrange(len(names))
    larger = [replace(each, room=each.room + more * GiB) if n == lucky else each for n, each in enumerate(names)]
    before, after = (
        [each.host for each, _weight in decide(request, given_pools, BY_ROOM).ranked] for given_pools in (names, larger)
    )
    assert set(before) <= set(after)
    if f"h{lucky}" in before:
        assert after.index(f"h{lucky}") <= before.index(f"h{lucky}")


@given(st.lists(_POOLS, max_size=6), st.integers(0, 100))
def test_every_pool_is_ranked_or_refused(pools: list[Candidate], size: int) -> None:
    """No pool is lost, none is both, and each that is ranked has the room and passes every filter."""
    decision = decide(Request(size * GiB, "nova"), pools, {"capacity": 1.0, "chance": 1.0, "volume_number": -1.0})
    assert len(decision.ranked) + len(decision.refused) == len(pools)
    for candidate, _weight in decision.ranked:
        assert candidate.room >= size * GiB
        assert all(each.lacks(candidate, decision.request) is None for each in FILTERS)
    weights = [weight for _candidate, weight in decision.ranked]
    assert weights == sorted(weights, reverse=True)


def test_the_host_of_a_pool_that_several_see() -> None:
    """The pool is chosen by its best report; of its hosts the one that serves the least of it, then the later name."""
    a, b, c = (replace(FAST, host=host, cluster="k", served=served) for host, served in (("a", 1), ("b", 9), ("c", 1)))
    best = replace(b, room=90 * GiB)
    alone = replace(SLOW, host="z", served=0)
    ranked = decide(ONE, [a, best, c, alone], BY_ROOM).ranked
    assert [each.host for each, _ in ranked] == ["c", "a", "b", "z"]
    assert [each.storage for each, _ in ranked] == ["k@fast#pool"] * 3 + ["z@slow#pool"]
