"""A clone that is copied is of one moment: its source is not written before the copy has ended."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from backends import COPYING
from serving import PATIENCE, ServiceProcess
from waiting import wait_until

from nbdsvc import errors

MIB = 1 << 20
CONNECTOR = {"host": "me", "ip": "127.0.0.1"}
SOON = 20 * PATIENCE


def test_the_source_of_a_copied_clone_is_not_connected(make_service: Callable[..., ServiceProcess]) -> None:
    """While a clone is copied, an attachment of its source waits, past its client's patience; the copy's end lets it go on."""
    service = make_service(backend=COPYING, copy_rate=1, attach_timeout=2)  # one byte a second: the copy never ends
    client = service.client()

    def create(**request: Any) -> str:
        return str(client.post("volumes", body={"volume": {"size": 1, **request}})["volume"]["id"])

    source = create()
    assert service.wait_status("volumes", source) == "available"
    with service.backend.volume(service.state, source).open("r+b") as file:
        file.write(os.urandom(4 * MIB))
    clone = create(source_volid=source)
    wait_until(lambda: client.operation_of(clone)["state"] == "running", SOON)
    with pytest.raises(errors.Error):
        client.post("attachments", body={"attachment": {"volume_uuid": source, "connector": CONNECTOR}})
    assert not service.servers()
    client.act("operations", client.operation_of(clone)["id"], "cancel")
    assert service.wait_status("volumes", clone) == "error"
    wait_until(service.servers, SOON)
