"""The second volume of an image beside the first: bench_image_cache.py [MIB] [ROUNDS] [memory].

The file driver on an XFS of its own, where a clone shares blocks. Each round has an image of random bytes of its own, of 2 GB
unless MIB says otherwise. Milliseconds are those from the submission of the creation to its end, by the operation's row.
With `memory` the simulator is used, which needs no XFS and copies where it clones: for a test of this program.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from disks import xfs
from measure import save, shown, spread

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from caching import rest
from serving import ServiceProcess

MIB = int(sys.argv[1]) if len(sys.argv) > 1 else 2048
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
SIMULATED = sys.argv[3:] == ["memory"]


@contextmanager
def pool(folder: Path) -> Iterator[Path]:
    """A folder on an XFS with room for what all rounds write; any folder for the simulator."""
    if SIMULATED:
        yield folder
        return
    with xfs(folder, (2 * MIB * ROUNDS << 20) + (4 << 30)) as mounted:
        yield mounted


def created(service: ServiceProcess, image: str) -> tuple[float, bool]:
    """Milliseconds of a creation, and whether it copied the image."""
    client = service.client()
    size = max(1, -(-MIB // 1024))
    volume = client.post("volumes", body={"volume": {"size": size, "imageRef": image}})["volume"]["id"]
    if (status := service.wait_status("volumes", volume, 600)) != "available":
        sys.exit(f"the volume is {status}: {service.log.read_text()[-2000:]}")
    operation = client.operation_of(volume)
    began, ended = (datetime.fromisoformat(operation[name]) for name in ("created_at", "finished_at"))
    return (ended - began).total_seconds() * 1000, bool(operation["progress"]["total"])


def one_round(service: ServiceProcess, number: int) -> tuple[float, float]:
    """Milliseconds of the first and of the second volume of a new image."""
    image = service.state / "images" / f"round{number}.raw"
    subprocess.run(["dd", "if=/dev/urandom", f"of={image}", "bs=1M", f"count={MIB}", "status=none"], check=True)
    rest(image)
    first, copied = created(service, image.name)
    end = time.monotonic() + 60
    while not any(each["name"] == image.name and each["status"] == "available" for each in entries(service)):
        if time.monotonic() > end:
            sys.exit("the image was not cached")
        time.sleep(0.05)
    second, copied_again = created(service, image.name)
    if not copied or copied_again:
        sys.exit("the first volume has to be a copy, and the second a clone")
    image.unlink()
    return first, second


def entries(service: ServiceProcess) -> list[dict[str, str]]:
    return list(service.client().get("image-cache")["cached_images"])


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as name, pool(Path(name)) as folder:
        driver = "memory" if SIMULATED else "file"
        settings = {"driver": driver, "pool": folder / "pool", "image_cache_gigabytes": 1000}
        service = ServiceProcess(Path(name) / "s", **settings).start()
        try:
            rounds = [one_round(service, number) for number in range(ROUNDS)]
        finally:
            with contextlib.suppress(OSError):
                service.stop()
    first, second = (spread(list(column)) for column in zip(*rounds, strict=True))
    print(f"{MIB:5} MiB  first volume, a copy    {shown(first, 1)} ms")
    print(f"{MIB:5} MiB  second volume, a clone  {shown(second, 1)} ms")
    if not SIMULATED:
        table = {"first volume": first, "second volume": second}
        save(
            "image_cache",
            {"command": f"benchmarks/bench_image_cache.py {MIB} {ROUNDS}", "rounds": ROUNDS, "table": table},
        )


main()
