"""The example of docs/writing-an-exporter.md does what the contract asks for, with real clients."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.exporter import Connector, Exporter, ExportSpec, Inventory
from nbdsvc.location import Location
from nbdsvc.model import names
from nbdsvc.units import MiB

DOCS = Path(__file__).parents[2] / "docs"


@dataclass
class Example:
    """The exporter of the page, and an export of a volume of 8 MiB."""

    exporter: Any
    folder: Path
    spec: ExportSpec

    def pid(self) -> int:
        return int((self.folder / "e" / f"{self.spec.id}.pid").read_text())


@pytest.fixture
def example() -> Iterator[Example]:
    text = (DOCS / "writing-an-exporter.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    namespace: dict[str, Any] = {}
    exec(compile(code, "writing-an-exporter.md", "exec"), namespace)  # noqa: S102
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as name:
        folder = Path(name)
        exporter = namespace["QemuNbdExporter"](folder / "e", "me")
        volume = folder / "volume"
        volume.write_bytes(b"\7" * 512)
        os.truncate(volume, 8 * MiB)
        location = Location.file(volume)
        access = exporter.accept(Connector.parse({"host": "me"}), location)
        yield Example(exporter, folder, ExportSpec(names.new_id(), names.new_id(), location, access))
        for id in exporter.inventory().exports:
            exporter.remove(id)


def size_at(uri: str) -> int:
    return int(
        subprocess.run(["nbdinfo", "--size", uri], capture_output=True, text=True, timeout=60, check=True).stdout
    )


def test_the_example_is_of_a_readable_size() -> None:
    """The page's code is an exporter, of some hundred lines."""
    text = (DOCS / "writing-an-exporter.md").read_text()
    assert 80 <= text.partition("```python\n")[2].partition("```")[0].count("\n") <= 140


def test_an_export_comes_is_repaired_and_goes(example: Example) -> None:
    """Ensured twice it is one; a killed server is made again; removed twice nothing is left."""
    exporter, spec = example.exporter, example.spec
    assert isinstance(exporter, Exporter)
    info = exporter.ensure(spec)
    assert json.loads(json.dumps(info.to_json())) == info.to_json()
    assert size_at(info.data["uri"]) == 8 * MiB
    pid = example.pid()
    assert exporter.ensure(spec) == info
    assert example.pid() == pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not exporter.health(spec.id).ok)
    assert exporter.ensure(spec) == info
    assert exporter.health(spec.id).ok
    assert exporter.find(spec.id) == (replace(spec, access=exporter.find(spec.id)[0].access), info)
    for _ in range(2):
        exporter.remove(spec.id)
    assert (exporter.inventory(), list((example.folder / "e").iterdir())) == (Inventory(), [])


def test_one_export_is_no_others(example: Example) -> None:
    """Of two exports of a volume, the removal of one ends its clients' access only; the other one may only read."""
    exporter, one = example.exporter, example.spec
    two = replace(one, id=names.new_id(), read_only=True)
    exporter.ensure(one)
    uri = exporter.ensure(two).data["uri"]
    assert exporter.inventory() == Inventory(tuple(sorted((one.id, two.id))))
    exporter.remove(one.id)
    write = ["qemu-io", "-f", "raw", "-c", "write 0 512", uri]
    assert subprocess.run(write, capture_output=True, timeout=60).returncode
    assert size_at(uri) == 8 * MiB


def test_growth_is_seen(example: Example) -> None:
    """After resize a new client finds the new size."""
    exporter, spec = example.exporter, example.spec
    uri = exporter.ensure(spec).data["uri"]
    os.truncate(spec.location.path, 16 * MiB)
    exporter.resize(spec.id, 16 * MiB)
    assert size_at(uri) == 16 * MiB


def test_what_cannot_be_is_refused(example: Example) -> None:
    """A connector of another host and a scheme are named, and a volume that is not there leaves nothing."""
    exporter, spec = example.exporter, example.spec
    with pytest.raises(errors.InvalidInput, match=r"connector\.host"):
        exporter.accept(Connector.parse({"host": "elsewhere"}), spec.location)
    with pytest.raises(errors.Unsupported, match="this one is at rbd"):
        exporter.accept(Connector.parse({"host": "me"}), Location("rbd", "pool/image"))
    with pytest.raises(errors.ExportFailed):
        exporter.ensure(replace(spec, location=Location.file(example.folder / "missing")))
    assert example.exporter.inventory() == Inventory()
