"""LIO of this host's kernel: its state is read from configfs, and changed by rtslib. The only module that uses rtslib.

It starts no program and needs no saved configuration. rtslib caches an index of backstores in the process, which is
wrong after another process's changes; so each call passes the index, and the present state is read from configfs.
"""

import contextlib
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nbdsvc import errors, net
from nbdsvc.exports.lio import discovery
from nbdsvc.exports.lio.plan import (
    ATTRIBUTES,
    BLOCK,
    FILE,
    TPG_TAG,
    Action,
    Backstore,
    Config,
    MappedLun,
    NodeAcl,
    Portal,
    Source,
    Target,
)

ROOT = Path("/sys/kernel/config/target")
# rtslib is not safe between processes (its issue 36), so every change of LIO by this module holds this lock.
LOCK = Path("/run/nbdsvc-lio.lock")
# A backstore's folder in configfs begins with the name of its plugin, and ends with an index.
_FOLDERS = {"iblock": BLOCK, "fileio": FILE}
# XCOPY lets an initiator name devices that are not mapped to it (CVE-2020-28374).
_OFF = ("emulate_3pc",)
# LIO discards blocks of a device opened as a file without invalidating the page cache, so that old bytes may still be
# read. With unmap_zeroes_data off, initiators do not expect zeros after an UNMAP, and write them.
_OFF_THROUGH = ("unmap_zeroes_data",)
# The state of an established session; a session that begins or is lost has another.
_LOGGED_IN = "TARG_SESS_STATE_LOGGED_IN"
# Attributes that only some devices support: UNMAP.
_IF_POSSIBLE = ("emulate_tpu",)


class KernelLio:
    """See Lio in nbdsvc/exports/lio/exporter.py. block_size: bytes of a logical block of backstores made from now on."""

    def __init__(self, block_size: int = 512) -> None:
        self._block_size = block_size
        try:
            import rtslib_fb
        except ImportError as error:
            reason = "lio needs rtslib: install nbdsvc[iscsi], or Debian's python3-rtslib-fb"
            raise errors.ConfigError(setting="exporter", reason=reason) from error
        self._rtslib: Any = rtslib_fb
        try:
            # The folder of the kernel's persistent reservations; rtslib needs it, and packages do not create it.
            Path(rtslib_fb.RTSRoot._preferred_dbroot, "pr").mkdir(parents=True, exist_ok=True)
            rtslib_fb.RTSRoot()
            self._fabric = rtslib_fb.FabricModule("iscsi")
            self._fabric._check_self()
        except Exception as error:  # rtslib passes on any error of its modprobe and its mount
            reason = f"this kernel has no LIO: {_text(error)}"
            raise errors.ConfigError(setting="exporter", reason=reason) from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        fd = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def backstores(self) -> list[Backstore]:
        found = [_backstore(path) for name in _FOLDERS for path in ROOT.glob(f"core/{name}_*/*/")]
        return [backstore for backstore in found if backstore is not None]

    def read(self, iqn: str, name: str) -> Config:
        target = ROOT / "iscsi" / iqn
        return Config(self._read_backstore(name), _target(target / f"tpgt_{TPG_TAG}") if target.is_dir() else None)

    def _read_backstore(self, name: str) -> Backstore | None:
        """The backstore; without a serial, as if broken, when another program made a second one of this name."""
        paths = _paths(name)
        found = _backstore(paths[0]) if paths else None
        return found if found is None or len(paths) == 1 else Backstore(found.name, found.source, "")

    def discover(self, initiator: str, peer: str, port: int) -> list[tuple[str, str]]:
        return discovery.send_targets(net.source_address_for(peer), port, initiator)

    def sessions(self, iqn: str) -> frozenset[str] | None:
        return logged_in(ROOT / "iscsi" / iqn / f"tpgt_{TPG_TAG}" / "acls")

    def apply(self, iqn: str, name: str, action: Action) -> None:
        do: Callable[[str, str, Any], None] = getattr(self, f"_{action.verb}")
        try:
            do(iqn, name, action.argument)
        except (self._rtslib.RTSLibError, OSError) as error:
            of = f" {action.argument}" if isinstance(action.argument, Portal) else ""
            reason = f"{action.verb.replace('_', ' ')}{of}: {_text(error)}"
            raise errors.ExportFailed(export=iqn, reason=reason) from error

    # One method for each action. Each may find its work half-done by a process that was killed.

    def _remove_target(self, iqn: str, _name: str, _none: None) -> None:
        self._rtslib.Target(self._fabric, iqn).delete()

    def _remove_backstore(self, _iqn: str, name: str, _none: None) -> None:
        for path in _paths(name):
            self._object(path).delete()

    def _make_backstore(self, _iqn: str, name: str, wanted: Backstore) -> None:
        """Make a backstore. The serial is set last: a correct serial proves that the backstore is complete."""
        _remove_empty_indexes()
        index, source = _free_index(), wanted.source
        if source.plugin == BLOCK:
            made = self._rtslib.BlockStorageObject(name, dev=source.path, index=index)
        else:
            # Without write-back, LIO answers a write on stable storage (O_DSYNC). It ignores the size of a device.
            made = self._rtslib.FileIOStorageObject(name, dev=source.path, size=source.size, index=index)
        made.set_attribute("block_size", self._block_size)
        for attribute in (*_OFF, *(_OFF_THROUGH if (source.plugin, source.size) == (FILE, 0) else ())):
            made.set_attribute(attribute, 0)
        for attribute in _IF_POSSIBLE:
            with contextlib.suppress(self._rtslib.RTSLibError):
                made.set_attribute(attribute, 1)
        made.wwn = wanted.serial

    def _resize(self, _iqn: str, name: str, wanted: Backstore) -> None:
        """LIO knows a file's size only from its configuration, and accepts a new size at any time."""
        for path in _paths(name):
            (path / "control").write_text(f"fd_dev_size={wanted.source.size}")

    def _make_target(self, iqn: str, _name: str, _none: None) -> None:
        self._tpg(iqn)

    def _set_attribute(self, iqn: str, _name: str, pair: tuple[str, str]) -> None:
        self._tpg(iqn).set_attribute(*pair)

    def _enable(self, iqn: str, _name: str, _none: None) -> None:
        self._tpg(iqn).enable = True

    def _make_lun(self, iqn: str, name: str, lun: tuple[int, str]) -> None:
        self._rtslib.LUN(self._tpg(iqn), lun[0], storage_object=self._object(_paths(name)[0]))

    def _remove_lun(self, iqn: str, _name: str, number: int) -> None:
        """Remove the mapped LUNs first, because rtslib fails at a mapped LUN whose link is gone."""
        tpg = self._tpg(iqn)
        for acl in Path(tpg.path, "acls").iterdir():
            for found in _mapped(acl) if acl.is_dir() else ():
                if found.number == number or found.read_only is None:
                    self._rtslib.MappedLUN(self._rtslib.NodeACL(tpg, acl.name), found.number).delete()
        self._rtslib.LUN(tpg, number).delete()

    def _allow(self, iqn: str, _name: str, access: NodeAcl) -> None:
        """Set the credentials before the mapped LUN, so that no LUN can be reached without them."""
        acl = self._rtslib.NodeACL(self._tpg(iqn), access.initiator)
        if (acl.chap_userid, acl.chap_password) != (access.user, access.password):
            acl.chap_userid, acl.chap_password = access.user, access.password
        for found in _mapped(Path(acl.path)):
            if found not in access.mapped:
                self._rtslib.MappedLUN(acl, found.number).delete()
        for wanted in access.mapped:
            if wanted not in _mapped(Path(acl.path)):
                self._rtslib.MappedLUN(acl, wanted.number, tpg_lun=wanted.number, write_protect=wanted.read_only)

    def _disallow(self, iqn: str, _name: str, initiator: str) -> None:
        """Delete the node ACL; its sessions end with it."""
        self._rtslib.NodeACL(self._tpg(iqn), initiator).delete()

    def _add_portal(self, iqn: str, _name: str, portal: Portal) -> None:
        """Add the portal if the host has its address: the kernel would also listen on any other (IP_FREEBIND)."""
        _assert_local(portal.ip.strip("[]"))
        self._rtslib.NetworkPortal(self._tpg(iqn), portal.ip, portal.port)

    def _remove_portal(self, iqn: str, _name: str, portal: Portal) -> None:
        self._rtslib.NetworkPortal(self._tpg(iqn), portal.ip, portal.port).delete()

    def _tpg(self, iqn: str) -> Any:
        return self._rtslib.TPG(self._rtslib.Target(self._fabric, iqn), TPG_TAG)

    def _object(self, path: Path) -> Any:
        kind, index = path.parent.name.rsplit("_", 1)
        classes = {"iblock": self._rtslib.BlockStorageObject, "fileio": self._rtslib.FileIOStorageObject}
        return classes[kind](path.name, index=int(index))


def logged_in(acls: Path) -> frozenset[str] | None:
    """The initiators of these node ACLs that have a session, by the ACLs' info files (lio_target_nacl_info_show of
    Linux); None when the target or one of its ACLs is removed meanwhile.
    """
    try:
        return frozenset(path.name for path in acls.iterdir() if _LOGGED_IN in _value(path / "info"))
    except OSError:
        return None


def _paths(name: str) -> list[Path]:
    return sorted(path for folder in _FOLDERS for path in ROOT.glob(f"core/{folder}_*/{name}"))


def _remove_empty_indexes() -> None:
    """Remove index folders without a backstore, which a process left that was killed between the two steps."""
    for path in (path for folder in _FOLDERS for path in ROOT.glob(f"core/{folder}_*/")):
        with contextlib.suppress(OSError):  # ENOTEMPTY: the folder is in use
            path.rmdir()


def _free_index() -> int:
    """The lowest index that no plugin's folder has."""
    used = {path.name.rpartition("_")[2] for path in ROOT.glob("core/*_*/")}
    return next(index for index in range(len(used) + 1) if str(index) not in used)


def _backstore(path: Path) -> Backstore | None:
    """The backstore in this folder; None when it is removed meanwhile."""
    try:
        plugin = _FOLDERS[path.parent.name.rsplit("_", 1)[0]]
        serial = _value(path / "wwn" / "vpd_unit_serial").partition(":")[2].strip()
        size = _size(_value(path / "info")) if plugin == FILE else 0
        source = Source(plugin, _value(path / "udev_path"), size)
        return Backstore(path.name, source, serial, _value(path / "enable") == "1")
    except OSError:
        return None


def _size(info: str) -> int:
    """The size of a fileio backstore in bytes; 0 while it is not configured."""
    fields = info.split()
    return int(fields[fields.index("Size:") + 1]) if "Size:" in fields else 0


def _target(tpg: Path) -> Target:
    """The target with this portal group; empty when the portal group is missing."""
    if not tpg.is_dir():
        return Target()
    return Target(
        attributes=tuple((name, _value(tpg / "attrib" / name)) for name, _ in ATTRIBUTES),
        enabled=_value(tpg / "enable") == "1",
        luns=frozenset((_number(lun), _behind(lun)) for lun in (tpg / "lun").iterdir() if lun.is_dir()),
        accesses=frozenset(_access(acl) for acl in (tpg / "acls").iterdir() if acl.is_dir()),
        portals=frozenset(_portal(np.name) for np in (tpg / "np").iterdir() if np.is_dir()),
    )


def _access(acl: Path) -> NodeAcl:
    return NodeAcl(acl.name, _auth(acl, "userid"), _auth(acl, "password"), _mapped(acl))


def _mapped(acl: Path) -> tuple[MappedLun, ...]:
    luns = sorted((path for path in acl.glob("lun_*") if path.is_dir()), key=_number)
    return tuple(
        MappedLun(_number(lun), _value(lun / "write_protect") == "1" if _behind(lun) else None) for lun in luns
    )


def _behind(lun: Path) -> str:
    """The name of the object that a LUN links to; "" without a link."""
    return next((path.resolve().name for path in lun.iterdir() if path.is_symlink()), "")


def _number(lun: Path) -> int:
    return int(lun.name.removeprefix("lun_"))


def _portal(name: str) -> Portal:
    ip, _, port = name.rpartition(":")
    return Portal(ip, int(port))


def _auth(acl: Path, name: str) -> str:
    """The value, or "" when it is not set: the kernel shows NULL then."""
    found = _value(acl / "auth" / name)
    return "" if found == "NULL" else found


def _assert_local(ip: str) -> None:
    """Raise OSError when no network interface of this host has the address."""
    with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET) as sock:
        sock.bind((ip, 0))


def _value(path: Path) -> str:
    return path.read_text().strip()


def _text(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__
