"""The hosts of a run: virtual machines of the rig, or real hosts of an inventory file."""

import json
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path

# The environment variable with the path of the run's saved fleet.
FLEET = "RIG_FLEET"


@dataclass(frozen=True)
class Host:
    """One host, reached as root by ssh. disks: block devices that the rig may destroy; empty: none."""

    name: str
    address: str
    key: str
    virtual: bool = False
    disks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Fleet:
    """`storage` and its initiators, by name."""

    hosts: list[Host]

    def host(self, name: str) -> Host:
        """The host of this name. StopIteration for an unknown one."""
        return next(host for host in self.hosts if host.name == name)

    def save(self, path: Path) -> None:
        """Write the fleet as JSON."""
        path.write_text(json.dumps([asdict(host) for host in self.hosts]))

    @classmethod
    def load(cls, path: Path) -> "Fleet":
        """The fleet that `save` wrote. OSError where the file is missing."""
        return cls([Host(**host) for host in json.loads(path.read_text())])


def inventory(path: Path) -> Fleet:
    """The hosts of a TOML file: [hosts.NAME] address = "...", key = "...", disks = ["/dev/..."].

    SystemExit, with the reason, for a file that is wrong.
    """
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SystemExit(f"inventory {path}: {error}") from error
    made = []
    for name, facts in content.get("hosts", {}).items():
        unknown = set(facts) - {"address", "key", "disks"}
        if unknown or not isinstance(facts.get("address"), str):
            raise SystemExit(
                f"inventory {path}: hosts.{name}: needs address, key and disks; unknown: {sorted(unknown)}"
            )
        made.append(Host(name, facts["address"], facts.get("key", ""), disks=facts.get("disks", [])))
    if "storage" not in [host.name for host in made]:
        raise SystemExit(f"inventory {path}: there is no host called storage")
    return Fleet(made)
