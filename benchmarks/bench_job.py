"""The whole job, from POST to `available`, against the incumbent's path: bench_job.py [ROUNDS].

A volume of a zlib-compressed image that an http server has. The stand-in does what Cinder's volume manager does:
it downloads the image to a temporary file, inspects it and runs `qemu-img convert -t none` into the volume. It is without
the incumbent's API, scheduler, broker and database, and it does not hash, so it is faster than the incumbent.
"""

import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from disks import SIZE, make_sources
from measure import save, shown, spread

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
import serving
from serving import ServiceProcess

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
KIND = "zlib qcow2"
# Part of the disk of the other benchmarks, so that the image has about 2 GB.
TIMES = 2
# Larger than the incumbent's 64 KiB, in its favour.
CHUNK = 1 << 20


@contextmanager
def image_server(image: Path) -> Iterator[str]:
    argv = [sys.executable, str(Path(serving.__file__).with_name("image_server.py")), str(image)]
    server = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait()


def ours(service: ServiceProcess, url: str) -> float:
    """Seconds from POST to available."""
    client, began = service.client(), time.monotonic()
    fields = {"size": TIMES * SIZE >> 30, "imageRef": url}
    volume = client.post("volumes", body={"volume": fields})["volume"]["id"]
    status = service.wait_status("volumes", volume, 600)
    taken = time.monotonic() - began
    if status != "available":
        sys.exit(f"the volume is {status}: {service.log.read_text()[-2000:]}")
    client.delete("volumes", volume)
    service.wait_status("volumes", volume)
    return taken


def stand_in(folder: Path, url: str) -> float:
    """Seconds of the incumbent's commands, one after the other."""
    image, volume, began = folder / "download", folder / "volume", time.monotonic()
    with urllib.request.urlopen(url) as response, image.open("wb") as file:
        shutil.copyfileobj(response, file, CHUNK)
    subprocess.run(["qemu-img", "info", "--output=json", image], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["qemu-img", "convert", "-O", "raw", "-t", "none", "-f", "qcow2", image, volume], check=True)
    image.unlink()
    taken = time.monotonic() - began
    volume.unlink()
    return taken


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as name:
        folder = Path(name)
        image = make_sources(folder, {KIND}, TIMES)[KIND]
        (folder / "raw").unlink()
        service = ServiceProcess(folder / "s", image_http_networks="127.0.0.0/8").start()
        try:
            with image_server(image) as url:
                rounds = [(ours(service, url), stand_in(folder, url)) for _ in range(ROUNDS)]
        finally:
            service.stop()
        size = image.stat().st_size
    table = {"ours": spread([ours for ours, _ in rounds]), "stand-in": spread([theirs for _, theirs in rounds]),
             "ratio": spread([theirs / ours for ours, theirs in rounds])}  # fmt: skip
    print(f"{KIND} of {size / 1e9:.2f} GB over http to a volume of {TIMES * SIZE >> 30} GiB, {ROUNDS} rounds")
    print(f"ours, POST to available {shown(table['ours'])} s; download, info and convert {shown(table['stand-in'])} s")
    print(f"we are faster by {shown(table['ratio'])}")
    save("job", {"command": f"benchmarks/bench_job.py {ROUNDS}", "rounds": ROUNDS, "image_bytes": size, "table": table})


main()
