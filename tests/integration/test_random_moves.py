"""Volumes that are moved, written, extended and retyped at random, with faults and cancels, against a model."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moving import BACKENDS, GIB, POOLS, Moving
from waiting import wait_until

from nbdsvc import errors

MIB = 1 << 20
SPECS = ["__DEFAULT__", *POOLS]
_verbs = ["create_volume", "delete_volume", "migrate_volume", "before_volume_copy", "after_volume_copy", "update_migrated_volume"]  # fmt: skip
_places = st.integers(0, 1023)
ACTIONS = st.one_of(
    st.tuples(st.just("migrate"), st.sampled_from(sorted(POOLS)), st.booleans(), st.booleans()),
    st.tuples(st.just("retype"), st.sampled_from(SPECS), st.sampled_from(["never", "on-demand"])),
    st.tuples(st.just("write"), _places),
    st.tuples(st.just("extend")),
    st.tuples(st.just("fault"), st.sampled_from(_verbs), st.sampled_from(["before", "after"])),
    st.tuples(st.just("cancel"), st.sampled_from(_verbs), st.sampled_from(["before", "after"])),
)


@pytest.fixture(scope="module")
def moving(module_service: Callable[..., Any]) -> Iterator[Moving]:
    yield Moving(module_service(backends=BACKENDS))


class Model:
    """The bytes of the volume at the places that were written, and its size in GiB."""

    def __init__(self, moving: Moving, id: str) -> None:
        self.moving, self.id, self.size = moving, id, 1
        self.written: dict[int, bytes] = {}
        self.cancels = False

    def migrate(self, pool: str, forced: bool, lock: bool) -> None:
        self._moved("os-migrate_volume", host=POOLS[pool], force_host_copy=forced, lock_volume=lock)

    def retype(self, name: str, policy: str) -> None:
        self._moved("os-retype", new_type=name, migration_policy=policy)

    def _moved(self, action: str, **body: Any) -> None:
        status, content = self.moving.act(self.id, action, **body)
        assert status in (202, 400, 503), content
        if self.cancels and status == 202:
            self.cancels = False
            client = self.moving.service.client()
            for row in client.get("operations", resource_id=self.id, limit=1)["operations"]:
                if row["state"] in ("pending", "running"):
                    with contextlib.suppress(errors.RequestError):  # the operation has ended meanwhile
                        client.act("operations", row["id"], "cancel")

    def write(self, place: int) -> None:
        """At a place of the first or of the last MiB of the volume, in turn."""
        offset = place * 1024 + (self.size * GIB - MIB if place % 2 else 0)
        self.written[offset] = os.urandom(1024)
        with self.moving.path(self.id).open("r+b") as file:
            file.seek(offset)
            file.write(self.written[offset])

    def extend(self) -> None:
        if self.moving.act(self.id, "os-extend", new_size=self.size + 1)[0] == 202:
            self.size += 1

    def fault(self, verb: str, when: str) -> None:
        self.moving.faults.plan({verb: [{"when": when, "error": "BackendUnavailable", "times": 1}]})

    def cancel(self, verb: str, when: str) -> None:
        """The next move is cancelled, while this verb is under way where it is called at all."""
        self.moving.faults.plan({verb: [{"when": when, "delay": 0.2, "times": 1}]})
        self.cancels = True

    def check(self) -> None:
        moving = self.moving
        moving.service.settle()
        pool, status, migration = moving.place(self.id)
        assert status == "available"
        assert migration in (None, "success", "error", "completing")
        if migration == "completing":  # the source is removed at the next periodic maintenance
            wait_until(lambda: moving.place(self.id)[2] == "success")
            moving.service.settle()
        assert moving.promised() == {pool: self.size}
        assert moving.used() == (1, self.size)
        kind = moving.shown(self.id)["volume_type"]
        assert kind in ("__DEFAULT__", pool)
        path = moving.path(self.id)
        assert path.stat().st_size == self.size * GIB
        with path.open("rb") as file:
            for offset, content in self.written.items():
                file.seek(offset)
                assert file.read(len(content)) == content
            for start in (0, self.size * GIB - MIB):
                file.seek(start)
                known = bytearray(MIB)
                for offset, content in self.written.items():
                    if start <= offset < start + MIB:
                        known[offset - start : offset - start + len(content)] = content
                assert file.read(MIB) == known


@pytest.mark.row("S033", "S034")
@pytest.mark.timeout(600)
@settings(max_examples=20)
@given(st.lists(ACTIONS, min_size=3, max_size=8))
def test_random_moves(moving: Moving, actions: list[tuple[Any, ...]]) -> None:
    """Whatever is done to it, a volume is whole, in one pool, of a type that its pool meets, and counted once."""
    id = moving.bound("a")
    assert moving.act(id, "os-retype", new_type="__DEFAULT__")[0] == 202
    model = Model(moving, id)
    try:
        for name, *arguments in actions:
            getattr(model, name)(*arguments)
            model.check()
    finally:
        moving.faults.plan({})
        moving.service.settle()
        moving.service.client().delete("volumes", id)
        assert moving.service.wait_status("volumes", id) == "gone"
        moving.service.settle()
    assert moving.promised() == {}
    assert moving.service.leftovers() == []
