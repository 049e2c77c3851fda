"""An iSCSI target as a disk of this host, by os-brick, as Nova does it; with multipath where multipathd runs.

os-brick starts iscsiadm for every setting of a session, and would pass the password as an argument, which every user of
the host can read. So this module writes the password into open-iscsi's record itself.
"""

import importlib.util
import os
import re
import socket
from pathlib import Path
from typing import Any

from nbdsvc import atomic_file, errors
from nbdsvc.connectors.attachment_store import Attached
from nbdsvc.connectors.device_wait import await_device
from nbdsvc.exporter import SECRET_FIELDS

NAME_FILE = Path("/etc/iscsi/initiatorname.iscsi")
# Folders of open-iscsi's records, one file each, readable by root only; the folder depends on open-iscsi's version.
_RECORDS = (Path("/etc/iscsi/nodes"), Path("/var/lib/iscsi/nodes"))
_PASSWORD = "node.session.auth.password"  # noqa: S105 (the name of the setting)
_END = "# END RECORD"
# The socket of multipathd (multipath-tools, DEFAULT_SOCKET): a connection succeeds only while multipathd runs.
_MULTIPATHD = "\0/org/kernel/linux/storage/multipathd"
# How many times os-brick scans for a disk; the pause grows from one scan to the next.
SCANS = 5
SETTLE_SECONDS = 15.0


class BrickIscsi:
    """A Transport (attachment_store.py): iSCSI by os-brick."""

    name = "iSCSI by os-brick"
    grows = False
    growth = (
        "rescan its session (iscsiadm -m session --rescan, with multipath multipathd resize map), or attach it again"
    )

    def serves(self, info: dict[str, Any]) -> bool:
        """Whether the export is an iSCSI target and os-brick is installed."""
        return info.get("driver_volume_type") == "iscsi" and importlib.util.find_spec("os_brick") is not None

    def connect(self, work_dir: Path, attachment_id: str, info: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Log in to the target by os-brick; the returned details have no secrets. ExportFailed when the login fails."""
        multipath = multipath_runs()
        connector = _connector(multipath)
        try:
            found = connector.connect_volume(dict(info))
        except BaseException as error:
            _take_back(connector, info)
            if not isinstance(error, Exception):  # KeyboardInterrupt or SystemExit
                raise
            raise errors.ExportFailed(export=info["target_iqn"], reason=_text(error)) from None
        public = {key: value for key, value in info.items() if key not in SECRET_FIELDS}
        device = os.path.realpath(found["path"])
        return device, {"connection": public, "found": found, "multipath": multipath}

    def on_recorded(self, folder: Path) -> None:
        """Does nothing: open-iscsi's daemon keeps its sessions."""

    def owns(self, attached: Attached) -> bool:
        """Always True. If the session ended by itself, the flush before the detach reports that writes are lost."""
        return True

    def disconnect(self, work_dir: Path, attached: Attached) -> None:
        """Log out, by force, because the disk was flushed or its flush given up. DeviceBusy when the session stays."""
        details = attached.details
        _take_back(_connector(details["multipath"]), details["connection"], details["found"])
        iqn = details["connection"]["target_iqn"]
        reason = f"the session with {iqn} does not end"
        await_device(lambda: iqn not in _connected(), attached.device, reason, SETTLE_SECONDS)


def initiator_name() -> str | None:
    """This host's iSCSI name; None where open-iscsi is not installed."""
    try:
        found = re.search(r"^InitiatorName=(\S+)", NAME_FILE.read_text(), re.MULTILINE)
    except OSError:
        return None
    return found[1] if found else None


def multipath_runs() -> bool:
    """Whether multipathd runs on this host."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(_MULTIPATHD)
        except OSError:
            return False
    return True


def _connector(multipath: bool) -> Any:
    """os-brick's connector, in this process, which runs as root: by default os-brick starts a helper by sudo."""
    from os_brick import privileged
    from os_brick.initiator.connectors.iscsi import ISCSIConnector
    from oslo_concurrency import lockutils

    if not hasattr(ISCSIConnector, "_iscsiadm_update"):
        raise errors.Unsupported(reason="this os-brick would show the password to everybody on the host")

    class Connector(ISCSIConnector):  # type: ignore[misc]
        def _iscsiadm_update(self, connection: dict[str, Any], key: str, value: str, **options: Any) -> tuple[str, str]:
            if key != _PASSWORD:
                return super()._iscsiadm_update(connection, key, value, **options)  # type: ignore[no-any-return]
            _write_password(connection["target_iqn"], value)
            return "", ""

    lockutils.set_defaults(lock_path="/run/nbdsvc")
    for context in (privileged.default, privileged.brick_privsep_hide_output):
        context.set_client_mode(False)
    return Connector(root_helper="", use_multipath=multipath, device_scan_attempts=SCANS)


def _take_back(connector: Any, info: dict[str, Any], found: dict[str, Any] | None = None) -> None:
    try:
        connector.disconnect_volume(dict(info), found, force=True, ignore_errors=True)
    except Exception as error:
        raise errors.DeviceBusy(device=info["target_iqn"], reason=_text(error)) from None


def _write_password(iqn: str, password: str) -> None:
    """Write the CHAP password into every record of the target: each portal has a record, with the same password."""
    for path in [path for root in _RECORDS for path in root.glob(f"{iqn}/**/[!.]*") if path.is_file()]:
        atomic_file.write(path, with_password(path.read_text(), password).encode())


def with_password(record: str, password: str) -> str:
    """open-iscsi's record of a portal with this password instead of any other."""
    lines = [line for line in record.splitlines() if not line.startswith(f"{_PASSWORD} ")]
    end = lines.index(_END) if _END in lines else len(lines)
    return "\n".join([*lines[:end], f"{_PASSWORD} = {password}", *lines[end:]]) + "\n"


def _connected() -> list[str]:
    """IQNs of the targets that this host has sessions with."""
    found = []
    for path in Path("/sys/class/iscsi_session").glob("*/targetname"):
        try:
            found.append(path.read_text().strip())
        except OSError:
            continue  # the session ended meanwhile
    return found


def _text(error: Exception) -> str:
    """The error of a failed program: its standard error, without its arguments."""
    stderr = getattr(error, "stderr", None)
    return (str(stderr).strip() or type(error).__name__) if stderr is not None else str(error) or type(error).__name__
