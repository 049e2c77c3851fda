"""An instance of another image than the hosts': a kernel and busybox, no Debian. Its disk is a volume, by QEMU's NBD client.

That is how libvirt gives a volume to an instance: the hypervisor's QEMU is the initiator, and the guest sees a disk.
"""

import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from rig import box, initrd, network

INIT = box.GUEST / "reader"
MODULES = ["virtio_pci", "virtio_blk"]
MIB = 1 << 20
# A machine with a core for itself boots within five seconds.
PATIENCE_SECONDS = 180


def digest(uri: str, offset: int, length: int) -> str:
    """sha256 of a part of the volume, as a guest reads it from its disk, in whole MiB. RuntimeError has its console."""
    home = _image()
    kernel_arguments = f"console=ttyS0 quiet panic=-1 rig.skip={offset // MIB} rig.count={length // MIB}"
    disk = f"driver=raw,node-name=volume,file.driver=nbd,file.export={_export(uri)},{_server(uri)}"
    argv = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "qemu64", "-m", "256", "-nographic", "-no-reboot", "-nic", "none",
            "-kernel", str(home / "vmlinuz"), "-initrd", str(home / "initrd"), "-append", kernel_arguments,
            "-blockdev", disk, "-device", "virtio-blk-pci,drive=volume"]  # fmt: skip
    done = subprocess.run(network.inside(*argv), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                          timeout=PATIENCE_SECONDS, check=False)  # fmt: skip
    found = re.search(r"rig digest ([0-9a-f]{64}) end", done.stdout)
    if not found:
        raise RuntimeError(f"the instance said no digest: {done.stderr[-1000:]}{done.stdout[-2000:]}")
    return found[1]


def _server(uri: str) -> str:
    host, port = re.fullmatch(r"nbd://([^/:]+):(\d+)/.*", uri).groups()  # type: ignore[union-attr]
    return f"file.server.type=inet,file.server.host={host},file.server.port={port}"


def _export(uri: str) -> str:
    return uri.rpartition("/")[2]


def _image() -> Path:
    """The folder with `vmlinuz` and `initrd`, made once from the packages that the hosts' box is made from."""
    parts = [Path(__file__), Path(initrd.__file__), INIT]
    home = box.CACHE / f"instance-{hashlib.sha256(b''.join(part.read_bytes() for part in parts)).hexdigest()[:16]}"
    if not home.exists():
        unfinished = Path(tempfile.mkdtemp(prefix="building-", dir=box.CACHE))
        try:
            _make(unfinished)
            unfinished.rename(home)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    return home


def _make(folder: Path) -> None:
    tree = folder / "tree"
    tree.mkdir()
    # ./lib is a link to ./usr/lib.
    wanted = ["./lib", "./boot/vmlinuz-*", "*/modules.dep", "*/drivers/virtio/*", "*/drivers/block/virtio_blk.ko"]
    subprocess.run(["tar", "-x", "-f", str(box.base()), "-C", str(tree), "--wildcards", *wanted], check=True)
    (folder / "initrd").write_bytes(initrd.pack(tree, folder / "initrd.work", INIT, MODULES))
    shutil.copy(next((tree / "boot").glob("vmlinuz-*")), folder / "vmlinuz")
    shutil.rmtree(tree)
