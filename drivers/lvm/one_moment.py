"""Snapshots of several thin LVs at one moment: their kernel objects are made anew while all of the LVs are suspended.

lvcreate takes one snapshot after the other, each with a suspension of its own, and fails on an LV that is suspended already:
then it does not send its message to the pool, and leaves the pool with another transaction than LVM's metadata say. So the
LVs are made before, inactive. Then all origins are suspended, and each snapshot's device in the pool is deleted and made
again, by the same number, which is all that LVM knows of it. Source: the kernel's device-mapper/thin-provisioning.rst
(create_snap: the origin is to be suspended), dmsetup(8).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Seconds that writers wait at most until all LVs are suspended: a third of what an iSCSI initiator waits for an answer.
HOLD_SECONDS = 10
# Seconds for what follows; each command takes milliseconds.
MORE_SECONDS = 30

# $1: dmsetup, $2: seconds, then ORIGIN:POOL_DEVICE:NUMBER:ORIGIN_NUMBER for each snapshot. Suspending waits for what is under
# way, and writes out what the kernel has of the LV. All are resumed whatever happens: a signal that this shell ignores, as of
# systemd when it ends the service, its commands ignore too; what SIGKILL interrupts is resumed at the next start
# (Objects.wake). To delete what is not there is no error: an earlier try may have been interrupted then. Prints for how
# many microseconds writers waited at most.
SCRIPT = """
trap '' HUP INT PIPE TERM
dmsetup=$1 end=$(($(date +%s) + $2)) status=0 began=$(date +%s%N)
shift 2
for each in "$@"; do
    left=$((end - $(date +%s)))
    [ $left -gt 0 ] && timeout --signal=KILL $left "$dmsetup" suspend "${each%%:*}" || { status=3; break; }
done
if [ $status = 0 ]; then
    for each in "$@"; do
        rest=${each#*:} pool=${rest%%:*} numbers=${rest#*:}
        "$dmsetup" message "$pool" 0 "delete ${numbers%:*}" 2> /dev/null
        "$dmsetup" message "$pool" 0 "create_snap ${numbers%:*} ${numbers#*:}" || { status=4; break; }
    done
fi
for each in "$@"; do
    "$dmsetup" resume "${each%%:*}" || status=5
done
echo $((($(date +%s%N) - began) / 1000))
exit $status
"""


@dataclass(frozen=True)
class Swap:
    """A snapshot that is to be of now. origin: path of the volume's LV; the numbers: thin ids in their pool, of this name in
    device-mapper.
    """

    origin: Path
    pool_device: str
    number: int
    origin_number: int

    def __str__(self) -> str:
        return f"{self.origin}:{self.pool_device}:{self.number}:{self.origin_number}"


def command(dmsetup: str, swaps: Sequence[Swap]) -> list[str]:
    """The command that does all swaps, or fails with the LVs resumed."""
    return ["sh", "-c", SCRIPT, "hold", dmsetup, str(HOLD_SECONDS), *map(str, swaps)]


def pool_device(group: str, pool: str) -> str:
    """A thin pool's name in device-mapper, where hyphens of names are doubled."""
    return "-".join((*(name.replace("-", "--") for name in (group, pool)), "tpool"))
