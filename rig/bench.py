"""Measures a real initiator: fio through kernel nbd, iSCSI and the volume's LV itself, and the time of an attach.

All runs are on the storage host, without a network between, and in turn, so that other load affects all of them alike:
the result is the ratio of a device to the LV below it in the same round. Run by `make rig-bench`.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rig import install, iscsi, storage
from rig.agent import Agent, connect_all
from rig.fleet import FLEET, Fleet
from rig.log import log
from rig.product import Initiator, Service, disconnect_all

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results" / "rig.json"
# Rounds of each cell, and seconds of one run of fio: the median of many short runs is stable against noise.
ROUNDS, SECONDS = int(os.environ.get("RIG_ROUNDS", "5")), 2
# How many times a volume is attached and detached to measure the latency.
ATTACHES = 3
# os-brick is several Python programs, one after the other, each of which starts slowly in emulation.
PATIENCE = 400
# name -> arguments of fio: request sizes and queue depths of databases, guests and copies.
CELLS = {
    "4k read q1": "--rw=randread --bs=4k --iodepth=1",
    "4k read q16": "--rw=randread --bs=4k --iodepth=16",
    "4k write q16": "--rw=randwrite --bs=4k --iodepth=16",
    "128k read q8": "--rw=read --bs=128k --iodepth=8",
    "128k write q8": "--rw=write --bs=128k --iodepth=8",
}
# Bytes that are written once before anything is measured: an unwritten thin block answers without its disk.
AREA = 512 << 20


@dataclass(frozen=True)
class Protocol:
    """A transport to measure. settings: the service's; options: those of `nbdsvc attach`."""

    name: str
    settings: dict[str, str]
    options: tuple[str, ...] = ()


def protocols(address: str) -> list[Protocol]:
    """The transports that are measured; `address`: the storage host's."""
    lio = {"EXPORTER": "lio", "ISCSI_PORTALS": address}
    return [Protocol("kernel nbd, 1 connection", {}, ("--connections=1",)),
            Protocol("kernel nbd, 4 connections", {}, ("--connections=4",)), Protocol("iSCSI", lio),
            Protocol("iSCSI, not written through", lio | {"ISCSI_WRITE_THROUGH": "false"})]  # fmt: skip


def main() -> int:
    """Measure all protocols, print the table and save it."""
    host = next(host for host in Fleet.load(Path(os.environ[FLEET])).hosts if host.name == "storage")
    agent = connect_all([host])["storage"]
    if host.virtual:
        install.install(agent)
    found = {each.name: measure(agent, each) for each in protocols(host.address)}
    facts = {"kernel": agent.shell("uname -r").strip(), "processors": int(agent.shell("nproc")), "rounds": ROUNDS,
             "emulated": "TCG" in agent.shell("grep -m1 'model name' /proc/cpuinfo")}  # fmt: skip
    RESULTS.write_text(json.dumps({"machine": facts, "table": found}, indent=1) + "\n")
    show(found)
    agent.close()
    return 0


def measure(agent: Agent, protocol: Protocol) -> dict[str, Any]:
    """Measure all cells and latencies of one protocol, on a volume of its own."""
    with _service(agent, protocol) as service:
        initiator, volume = Initiator(agent, service, PATIENCE), service.volume()
        log(f"{protocol.name}: attaching")
        attach, detach = _latencies(initiator, volume, protocol.options)
        device = initiator.attach(volume, *protocol.options)
        below = agent.run("readlink", "-f", f"/dev/{storage.GROUP}/volume-{volume}").out.strip()
        agent.shell(f"dd if=/dev/urandom of={device} bs=1M count={AREA >> 20} oflag=direct status=none", timeout=600)
        cells = {name: _cell(agent, device, below, words) for name, words in CELLS.items()}
        initiator.detach(volume)
        service.delete("volumes", volume)
    return {"attach_seconds": attach, "detach_seconds": detach, "cells": cells}


@contextmanager
def _service(agent: Agent, protocol: Protocol) -> Iterator[Service]:
    options: dict[str, Any] = {"DRIVER": "lvm", "BACKEND": "lvm", "DRIVER_OPTIONS": f"volume_group = '{storage.GROUP}'"}
    service = Service(agent, **(options | protocol.settings))
    _clear(service)
    storage.make_group(agent)
    iscsi.start_initiator(agent)
    service.start()
    try:
        yield service
    finally:
        _clear(service)
        storage.remove_group(agent)


def _clear(service: Service) -> None:
    iscsi.stop_initiator(service.agent)
    disconnect_all(service.agent)
    service.wipe()
    iscsi.clear(service.agent)


def _latencies(initiator: Initiator, volume: str, options: tuple[str, ...]) -> tuple[float, float]:
    """The median seconds of `nbdsvc attach` and of `nbdsvc detach`."""
    taken = [
        (_seconds(lambda: initiator.attach(volume, *options)), _seconds(lambda: initiator.detach(volume)))
        for _ in range(ATTACHES)
    ]
    return statistics.median(each for each, _ in taken), statistics.median(each for _, each in taken)


def _seconds(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def _cell(agent: Agent, device: str, below: str, words: str) -> dict[str, float]:
    """The median requests a second of the device and of the LV, and the median of the rounds' ratios."""
    rounds = [(_fio(agent, device, words), _fio(agent, below, words)) for _ in range(ROUNDS)]
    return {"iops": statistics.median(ours for ours, _ in rounds), "lv_iops": statistics.median(lv for _, lv in rounds),
            "ratio": statistics.median(ours / lv for ours, lv in rounds),
            "lowest": min(ours / lv for ours, lv in rounds), "highest": max(ours / lv for ours, lv in rounds)}  # fmt: skip


def _fio(agent: Agent, path: str, words: str) -> float:
    """Requests a second."""
    usual = f"--name=x --filename={path} --size={AREA} --direct=1 --ioengine=libaio --time_based --runtime={SECONDS}"
    job = json.loads(agent.run("fio", *usual.split(), *words.split(), "--output-format=json").out)["jobs"][0]
    return float(job["read"]["iops"] + job["write"]["iops"])


def show(found: dict[str, dict[str, Any]]) -> None:
    """The results as a table to read."""
    for protocol, row in found.items():
        print(f"{protocol}: attach {row['attach_seconds']:.1f} s, detach {row['detach_seconds']:.1f} s")
        for name, cell in row["cells"].items():
            print(f"  {name:14} {cell['iops']:8.0f}/s  LV {cell['lv_iops']:8.0f}/s  {cell['ratio']:.2f} of it"
                  f" ({cell['lowest']:.2f}-{cell['highest']:.2f})")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
