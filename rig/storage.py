"""A volume group on the storage host, on the disks that the rig may destroy and no others."""

from rig.agent import Agent, HostFailed

GROUP = "cinder-volumes"


def make_group(agent: Agent) -> str:
    """A new, empty group on all of the host's disks; whatever was on them is lost. HostFailed where none is named."""
    if not agent.host.disks:
        raise HostFailed(f"{agent.host.name}: no disk is named that may be destroyed")
    remove_group(agent)
    for disk in agent.host.disks:
        if agent.shell(f"lsblk -nro MOUNTPOINT {disk}").strip():
            raise HostFailed(f"{agent.host.name}: {disk} is in use")
    agent.run("vgcreate", "-q", "-f", "-y", GROUP, *agent.host.disks)
    return GROUP


def remove_group(agent: Agent) -> None:
    """The group and all in it."""
    agent.shell(f"! vgs -q {GROUP} > /dev/null 2>&1 || vgremove -q -f -y {GROUP}")


def volumes(agent: Agent) -> list[str]:
    """Names of all LVs of the group, hidden ones too, but for those of its pool."""
    listed = agent.shell(f"lvs -a --noheadings -o lv_name {GROUP}").split()
    return sorted(name for name in listed if f"{GROUP}-pool" not in name and "lvol0_pmspare" not in name)
