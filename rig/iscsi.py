"""A host as an iSCSI initiator by open-iscsi alone, which knows only the connection_info; and LIO's configuration."""

import time
from dataclasses import dataclass
from typing import Any

from rig.agent import Agent, Done, HostFailed
from rig.product import Service

# Seconds until I/O fails: short with multipath, which uses another path; long without, to wait for the target.
QUICK, PATIENT = 5, 300
APPEAR_SECONDS = 30


@dataclass(frozen=True)
class Disk:
    """An attachment that is a disk. info: its connection_info."""

    attachment: str
    info: dict[str, Any]
    device: str


class OpenIscsi:
    """Attachments by the API, sessions by iscsiadm. Passwords are written to its records, never on a command line."""

    def __init__(self, agent: Agent, service: Service) -> None:
        self.agent = agent
        self.service = service

    @property
    def name(self) -> str:
        """The initiator's name (IQN) of the host."""
        return self.agent.run("cat", "/etc/iscsi/initiatorname.iscsi").out.strip().partition("=")[2]

    def connector(self, **more: Any) -> dict[str, Any]:
        """The connector of the host, with `more` fields."""
        host = self.agent.host
        return {"host": host.name, "ip": host.address, "initiator": self.name, **more}

    def reserve(self, volume: str, mode: str = "rw", **more: Any) -> tuple[str, dict[str, Any]]:
        """Make an attachment: (its id, connection_info). Refused where the API refuses it."""
        body = {
            "volume_uuid": volume,
            "instance_uuid": None,
            "mode": mode,
            "connector": self.connector(mode=mode, **more),
        }
        made = self.service.call("POST", "attachments", {"attachment": body})["attachment"]
        return made["id"], made["connection_info"]

    def attach(self, volume: str, mode: str = "rw", patience: int = QUICK) -> Disk:
        """Attach by the first portal; `patience` in seconds. Refused, or HostFailed where the login fails."""
        attachment, info = self.reserve(volume, mode)
        device = self.login(info, patience=patience)
        self.service.act("attachments", attachment, "os-complete")
        return Disk(attachment, info, device)

    def login(self, info: dict[str, Any], patience: int = QUICK) -> str:
        """Log in by the first portal; the path of the disk. HostFailed where the login fails or no disk appears."""
        done = self.try_login(info, info["target_portal"], patience)
        if done.rc:
            raise HostFailed(f"{self.agent.host.name}: login: {done.rc}: {done.err}")
        return self.path(info, info["target_portal"])

    def try_login(self, info: dict[str, Any], portal: str, patience: int = QUICK, initiator: str = "") -> Done:
        """Try a login; rc is iscsiadm's: 0, or 24 for a refused login. initiator: another name than this host's."""
        found = self.agent.python(
            _LOGIN, iqn=info["target_iqn"], portal=portal, user=info["auth_username"], password=info["auth_password"],
            patience=patience, initiator=initiator,
        )  # fmt: skip
        return Done(found["rc"], found["out"], found["err"])

    def path(self, info: dict[str, Any], portal: str) -> str:
        """The device of the target's disk by this portal, once it appears. HostFailed where it does not."""
        path = f"/dev/disk/by-path/ip-{portal}-iscsi-{info['target_iqn']}-lun-{info['target_lun']}"
        self.agent.shell(f"for i in $(seq {APPEAR_SECONDS * 5}); do [ -b {path} ] && exit; sleep 0.2; done; exit 1")
        return str(self.agent.run("readlink", "-f", path).out.strip())

    def logout(self, info: dict[str, Any]) -> None:
        """End the sessions of the target and remove its records."""
        self.agent.shell(
            f"iscsiadm -m node -T {info['target_iqn']} -u; iscsiadm -m node -T {info['target_iqn']} -o delete"
        )

    def detach(self, disk: Disk) -> None:
        """Log out, and delete the attachment. Refused where the API refuses that."""
        self.logout(disk.info)
        self.service.delete("attachments", disk.attachment)

    def sessions(self) -> list[str]:
        """IQNs of the targets that the host is logged in to."""
        listed = self.agent.run("iscsiadm", "-m", "session", check=False).out
        return [line.split()[3] for line in listed.splitlines() if line.startswith("tcp:")]


def start_initiator(agent: Agent, *, multipath: bool = False) -> None:
    """Start open-iscsi's daemon, and multipathd with `multipath`; else mask it, because it sets sessions' timeouts."""
    agent.shell("systemctl unmask -q iscsid iscsid.socket; systemctl start iscsid")
    if multipath:
        agent.shell("systemctl unmask -q multipathd; systemctl start multipathd")
    else:
        agent.shell("systemctl mask -q --now multipathd.socket multipathd")


def stop_initiator(agent: Agent) -> None:
    """Remove all sessions, records and maps of iSCSI, also sessions whose target is gone, and stop multipathd."""
    agent.shell(
        '[ ! -d /sys/class/iscsi_session ] || [ -z "$(ls /sys/class/iscsi_session)" ] || {'
        " systemctl -q is-active multipathd && multipathd disablequeueing maps > /dev/null; multipath -F > /dev/null;"
        " timeout 60 iscsiadm -m node -u > /dev/null 2>&1; };"
        " rm -rf /etc/iscsi/nodes/*; systemctl -q is-active multipathd && systemctl stop multipathd; true",
        timeout=120,
        check=False,
    )


def remains(agent: Agent) -> list[str]:
    """The sessions, records, disks of targets and multipath maps that an initiator has."""
    return agent.shell(
        "for each in /sys/class/iscsi_session/* /etc/iscsi/nodes/*; do [ ! -e $each ] || echo $each; done;"
        " lsblk -dno VENDOR,SERIAL | grep LIO-ORG || true;"
        " dmsetup ls --target multipath 2> /dev/null | grep mpath || true"
    ).splitlines()


def wait_until(agent: Agent, condition: str, seconds: int = 60) -> float:
    """Wait until a shell condition holds on the host; the seconds it took. HostFailed after `seconds`."""
    began = time.monotonic()
    agent.shell(
        f"for i in $(seq {seconds * 5}); do {{ {condition}; }} && exit; sleep 0.2; done; exit 1", timeout=seconds + 30
    )
    return time.monotonic() - began


class Watcher:
    """Records the arguments and environment of every process of a host until `seen` is called."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._pid = agent.start("python3", "-c", _WATCH, log="/tmp/watched")

    def seen(self) -> str:
        """Stop, and return all that was recorded."""
        self._agent.run("kill", "-INT", str(self._pid))
        wait_until(self._agent, f"[ ! -d /proc/{self._pid} ]")
        return self._agent.shell("cat /tmp/watched; rm /tmp/watched")


def configured(agent: Agent) -> list[str]:
    """Names of the targets and backstores that LIO has."""
    return agent.shell(
        "cd /sys/kernel/config/target 2> /dev/null || exit 0;"
        " for each in iscsi/iqn.* core/*_*/*-*; do [ ! -d $each ] || echo ${each##*/}; done"
    ).split()


def clear(agent: Agent) -> None:
    """Remove everything from LIO, whoever made it. HostFailed where something is in use."""
    if configured(agent):
        agent.run("python3", "-W", "ignore", "-c", "import rtslib_fb; rtslib_fb.RTSRoot().clear_existing(confirm=True)")


_LOGIN = """
import glob, re, subprocess
def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, timeout=120)
def main(iqn, portal, user, password, patience, initiator):
    iface = "default"
    if initiator:
        iface = "other"
        run("iscsiadm", "-m", "iface", "-I", iface, "-o", "new")
        run("iscsiadm", "-m", "iface", "-I", iface, "-o", "update", "-n", "iface.initiatorname", "-v", initiator)
    node = ["iscsiadm", "-m", "node", "-T", iqn, "-p", portal, "-I", iface]
    made = run(*node[:6], portal + ",1", *node[7:], "-o", "new")
    values = {"auth.authmethod": "CHAP", "auth.username": user, "auth.password": password,
              "timeo.replacement_timeout": patience, "initial_login_retry_max": 1}
    for path in glob.glob(f"/etc/iscsi/nodes/{iqn}/*/*"):
        with open(path) as file:
            lines = [line for line in file if not any(f"node.session.{key} " in line for key in values)]
        lines[-1:-1] = [f"node.session.{key} = {value}\\n" for key, value in values.items()]
        text = "".join(lines)
        text = re.sub(r"(noop_out_interval|noop_out_timeout) = \\d+", r"\\1 = 2", text)
        with open(path, "w") as file:
            file.write(text)
    done = run(*node, "-l")
    if done.returncode:
        run(*node, "-o", "delete")
    if initiator:
        run("iscsiadm", "-m", "iface", "-I", iface, "-o", "delete")
    return {"rc": done.returncode, "out": done.stdout, "err": made.stderr + done.stderr}
"""
_WATCH = """
import glob
seen = set()
try:
    while True:
        for path in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ"):
            try:
                with open(path, "rb") as file:
                    seen.add(file.read().replace(b"\\0", b" ").decode(errors="replace"))
            except OSError:
                pass
except KeyboardInterrupt:
    print("\\n".join(seen), flush=True)
"""
