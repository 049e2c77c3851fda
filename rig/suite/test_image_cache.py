"""The image cache on thin LVM: the second volume of an image is a clone of LVM's."""

import hashlib
import os
import time
from collections.abc import Callable

import pytest

from rig.agent import Agent
from rig.product import STATE, Initiator, Service

MIB = 1 << 20
CONTENT = os.urandom(4 * MIB)
# Seconds for which a file has to be as it is, to have a version (docs/image-cache.md).
QUIET_SECONDS = 2


@pytest.mark.ci
def test_the_second_volume_of_an_image_is_a_clone(
    make_service: Callable[..., Service], agents: dict[str, Agent], group: str
) -> None:
    """It has the image's bytes and the cached image's LV as its origin; both go on without the first volume, and the entry
    without its clones.
    """
    options = f"volume_group = '{group}'"
    service = make_service(DRIVER="lvm", BACKEND="lvm", DRIVER_OPTIONS=options, IMAGE_CACHE_GIGABYTES=8)
    local = Initiator(agents["storage"], service)
    local.agent.shell(f"mkdir -p -m 700 {STATE}/images")
    local.agent.put(f"{STATE}/images/disk.img", CONTENT)
    local.agent.shell(f"truncate -s 64M {STATE}/images/disk.img")
    time.sleep(QUIET_SECONDS)
    began = time.monotonic()
    first = service.volume(imageRef="disk.img")
    copied = time.monotonic()
    entry = _entry(service)
    cloned = time.monotonic()
    second = service.volume(imageRef="disk.img")
    print(f"\nof an image: first {copied - began:.2f} s, second {time.monotonic() - cloned:.2f} s")
    names = local.agent.shell(f"lvs --noheadings --separator : -o lv_name,origin {group}").split()
    origins = dict(line.split(":") for line in names)
    assert {id: origins[f"volume-{id}"] for id in (entry, second)} == {
        entry: f"volume-{first}",
        second: f"volume-{entry}",
    }, origins
    service.delete("volumes", first)
    digest = hashlib.sha256(CONTENT).hexdigest()
    device = local.attach(second)
    assert local.digest(device, 0, len(CONTENT)) == digest
    local.write(device, 0, bytes(MIB))
    local.detach(second)
    third = service.volume(imageRef="disk.img")  # what is written to a clone is not the image's
    assert local.digest(local.attach(third), 0, len(CONTENT)) == digest
    local.detach(third)
    service.call("DELETE", f"image-cache/{entry}")
    for id in (second, third):
        service.delete("volumes", id)
    service.settled("volumes", entry, "gone")


def _entry(service: Service) -> str:
    """The id of the only cached image, once it is available. AssertionError after a minute."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = service.call("GET", "image-cache")["cached_images"]
        if [each["status"] for each in found] == ["available"]:
            return str(found[0]["id"])
        time.sleep(0.2)
    raise AssertionError(f"no cached image: {service.log()}")
