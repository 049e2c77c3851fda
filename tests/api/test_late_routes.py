"""A service whose package is replaced while it runs goes on with what it has loaded, and says what else waits for a restart."""

import shutil
from collections.abc import Callable
from pathlib import Path

from asking import ask
from serving import HERE, ServiceProcess

PACKAGES = ("nbdsvc", "drivers")


def test_a_package_that_is_replaced_while_the_service_runs(
    make_service: Callable[..., ServiceProcess], tmp_path: Path
) -> None:
    """Volumes are made and deleted as before; groups, which no request was about yet, are refused until the restart."""
    service = make_service(start=False)
    for name in PACKAGES:
        shutil.copytree(HERE.parents[1] / name, tmp_path / name)
    service.tree = tmp_path
    client = service.start().client()
    made = client.post("volumes", body={"volume": {"size": 1}})["volume"]["id"]
    assert service.wait_status("volumes", made) == "available"
    for file in tmp_path.rglob("*.py"):
        shutil.copy(file, file.with_suffix(".new"))
        file.with_suffix(".new").replace(file)
    client.delete("volumes", made)
    assert service.wait_status("volumes", made) == "gone"
    status, content, _ = ask(service, "GET", "/v3/groups", OpenStack_API_Version="volume 3.44")
    assert (status, content["serviceUnavailable"]["message"]) == (
        503,
        "The service is being upgraded. Try again later.",
    ), content
    service.stop()
    service.start()
    status, content, _ = ask(service, "GET", "/v3/groups", OpenStack_API_Version="volume 3.44")
    assert (status, content) == (200, {"groups": []})
