"""The machines' disk: a Debian 12 with the targets and initiators of the field, built once and cached by its recipe.

Made without loop devices, mounts or a boot loader's installer, so that it can be built in a container: mke2fs fills the
file system, grub-mkimage makes the boot loader, and their bytes are put where a BIOS looks for them.
"""

import hashlib
import json
import os
import shutil
import struct
import subprocess
import tarfile
import tempfile
from pathlib import Path

from rig import initrd
from rig.log import log

GUEST = Path(__file__).parent / "guest"
# Not below a home folder: the machines' emulator is another user and reads the tree from here.
CACHE = Path(os.environ.get("RIG_CACHE", "/var/cache/nbdsvc-rig"))
MIRROR = "http://deb.debian.org/debian"
PACKAGES = """linux-image-amd64 systemd-sysv udev kmod dbus iproute2 iputils-ping procps udhcpc openssh-server rsync nftables
    lvm2 thin-provisioning-tools dmsetup python3 python3-rtslib-fb open-iscsi nbd-client multipath-tools
    nbdkit nbdkit-plugin-python libnbd-bin python3-libnbd qemu-utils fio fuse3 e2fsprogs xfsprogs sudo python3-netifaces
    libdeflate0 libzstd1 libxxhash0""".split()
# Units that take seconds at boot; a test starts those that it needs.
MASKED = """multipathd.service multipathd.socket iscsid.service iscsid.socket open-iscsi.service apt-daily.timer
    apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-timesyncd.service
    systemd-networkd.service systemd-resolved.service getty@tty1.service rtslib-fb-targetctl.service
    nbd-client.service systemd-logind.service""".split()
BAKED = ("rig-net", "rig-net.service", "init", "multipath.conf")
# ext4 loads its checksum through the crypto layer, so that no module dependency names it.
BOOT_MODULES = "crc32c_intel crc32c_generic virtio_pci virtio_blk virtio_scsi sd_mod ext4".split()
DISK_MIB = 6144
# The first partition begins at 1 MiB, as with every tool, which leaves room for the boot loader.
FIRST_SECTOR, SECTOR = 2048, 512
CMDLINE = "root=/dev/vda1 rw net.ifnames=0 biosdevname=0 console=ttyS0 quiet mitigations=off nowatchdog"


def recipe() -> str:
    """A digest of all that the box is made from."""
    digest = hashlib.sha256()
    for path in [Path(__file__), Path(initrd.__file__), *(GUEST / name for name in BAKED)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def build() -> Path:
    """The folder with `disk.qcow2`, `rig.box` and the key `id` that its root lets in; built unless it is cached."""
    home = CACHE / recipe()
    if (home / "rig.box").exists():
        log(f"box {home.name} is cached")
        return home
    CACHE.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="building-", dir=CACHE))
    try:
        _key(work)
        _tree(work)
        _disk(work)
        _box(work)
        shutil.rmtree(work / "tree")
        work.rename(home)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    log(f"box {home.name} built")
    return home


def _key(work: Path) -> None:
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "rig", "-f", str(work / "id"))


def _tree(work: Path) -> None:
    tree = work / "tree"
    tree.mkdir()
    _run("tar", "-x", "--xattrs", "-f", str(base()), "-C", str(tree))
    _configure(tree, (work / "id.pub").read_text())
    _boot(tree)


def base() -> Path:
    """Debian with the packages, as a tar; by far the longest step, so it has a cache of its own."""
    made = CACHE / f"base-{hashlib.sha256(' '.join(PACKAGES).encode()).hexdigest()[:16]}.tar"
    if made.exists():
        return made
    log("box: installing Debian")
    unfinished = made.with_suffix(".unfinished")
    suite = ["--variant=minbase", "--mode=root", f"--include={','.join(PACKAGES)}", "--skip=cleanup/apt/lists"]
    trims = ["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
             "--dpkgopt=path-exclude=/usr/share/locale/*", "--aptopt=Apt::Install-Recommends false"]  # fmt: skip
    # initramfs-tools would build a large initrd in the chroot that is never booted.
    early = [
        "--setup-hook=mkdir -p $1/etc/initramfs-tools/conf.d $1/etc/kernel; echo 'do_initrd=no' > $1/etc/kernel-img.conf"
    ]
    _run("mmdebstrap", "-q", "--format=tar", *suite, *trims, *early, "bookworm", str(unfinished), MIRROR)
    unfinished.rename(made)
    return made


def _configure(tree: Path, public_key: str) -> None:
    ssh = tree / "root" / ".ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    (ssh / "authorized_keys").write_text(public_key)
    (tree / "etc/ssh/sshd_config.d/rig.conf").write_text(
        "PermitRootLogin prohibit-password\nPasswordAuthentication no\nUseDNS no\nMaxSessions 100\n"
    )
    (tree / "etc/fstab").write_text("/dev/vda1 / ext4 rw,errors=remount-ro 0 0\n")
    (tree / "etc/multipath.conf").write_text((GUEST / "multipath.conf").read_text())
    shutil.copy(GUEST / "rig-net", tree / "usr/local/sbin/rig-net")
    (tree / "usr/local/sbin/rig-net").chmod(0o755)
    shutil.copy(GUEST / "rig-net.service", tree / "etc/systemd/system/rig-net.service")
    _chroot(tree, "systemctl", "enable", "rig-net.service", "ssh.service")
    _chroot(tree, "systemctl", "mask", *MASKED)
    # The log is kept in memory, because one on disk costs writes; the rig reads it before it ends a machine.
    (tree / "etc/systemd/journald.conf.d").mkdir(exist_ok=True)
    (tree / "etc/systemd/journald.conf.d/rig.conf").write_text("[Journal]\nStorage=volatile\n")


def _boot(tree: Path) -> None:
    """Kernel and initrd under names without a version."""
    version = next((tree / "lib/modules").iterdir()).name
    (tree / "boot" / "initrd").write_bytes(initrd.pack(tree, tree / "tmp" / "initrd", GUEST / "init", BOOT_MODULES))
    (tree / "boot" / "vmlinuz").unlink(missing_ok=True)
    shutil.copy(tree / "boot" / f"vmlinuz-{version}", tree / "boot" / "vmlinuz")


def _disk(work: Path) -> None:
    log("box: making the disk")
    raw, tree = work / "disk.raw", work / "tree"
    (tree / "boot/grub").mkdir(parents=True, exist_ok=True)
    (tree / "boot/grub/grub.cfg").write_text(f"linux /boot/vmlinuz {CMDLINE}\ninitrd /boot/initrd\nboot\n")
    with raw.open("wb") as file:
        file.truncate(DISK_MIB << 20)
    size = (DISK_MIB << 20) - FIRST_SECTOR * SECTOR
    extended = f"offset={FIRST_SECTOR * SECTOR},root_owner=0:0"
    # A journal, because machines are switched off under load; no checksums of metadata, because GRUB 2.06 reads none.
    _run("mke2fs", "-q", "-t", "ext4", "-L", "rigroot", "-O", "^metadata_csum", "-E", extended, "-m0",
         "-d", str(tree), str(raw), f"{size // 1024}k")  # fmt: skip
    _boot_loader(work, raw, size // SECTOR)
    _run("qemu-img", "convert", "-m", "2", "-W", "-O", "qcow2", "-c", "-o", "compression_type=zstd", str(raw),
         str(work / "disk.qcow2"))  # fmt: skip
    raw.unlink()


def _boot_loader(work: Path, raw: Path, sectors: int) -> None:
    """GRUB's first sector with a partition table of one bootable Linux partition (0x83), and its core behind it."""
    folder = work / "grub"
    folder.mkdir()
    _run("apt-get", "-qq", "download", "grub-pc-bin", cwd=folder)
    _run("dpkg", "-x", str(next(folder.glob("*.deb"))), str(folder))
    images = folder / "usr/lib/grub/i386-pc"
    core = folder / "core.img"
    _run("grub-mkimage", "-d", str(images), "-O", "i386-pc", "-p", "(hd0,msdos1)/boot/grub", "-o", str(core),
         *"biosdisk part_msdos ext2 linux normal configfile minicmd".split())  # fmt: skip
    with raw.open("r+b") as file:
        anywhere = b"\xfe\xff\xff"  # cylinder, head and sector that say: count sectors instead
        entry = struct.pack("<B3sB3sII", 0x80, anywhere, 0x83, anywhere, FIRST_SECTOR, sectors)
        file.write((images / "boot.img").read_bytes()[:440] + bytes(6) + entry + bytes(48) + b"\x55\xaa")
        file.seek(SECTOR)
        file.write(core.read_bytes())
    shutil.rmtree(folder)


def _box(work: Path) -> None:
    """A box in Vagrant's format for libvirt: metadata and disk in one archive."""
    facts = {"provider": "libvirt", "format": "qcow2", "virtual_size": DISK_MIB // 1024}
    (work / "metadata.json").write_text(json.dumps(facts))
    with tarfile.open(work / "rig.box", "w") as archive:
        archive.add(work / "metadata.json", "metadata.json")
        archive.add(work / "disk.qcow2", "box.img")


def _chroot(tree: Path, *command: str) -> None:
    _run("chroot", str(tree), *command)


def _run(*argv: str, cwd: Path | None = None) -> None:
    done = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"{' '.join(argv[:3])} ... failed with {done.returncode}:\n{(done.stderr or done.stdout)[-2000:]}"
        )
