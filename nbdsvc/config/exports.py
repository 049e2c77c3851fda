"""How volumes are exported: NBD and iSCSI."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from nbdsvc.backend_settings import EXPORTERS
from nbdsvc.config.check import Check

_IQN_PREFIX = re.compile(r"iqn\.[0-9]{4}-[01][0-9]\.[a-z0-9-]+\.[a-z0-9.:-]*")


@dataclass(frozen=True)
class Exports:
    """How volumes are exported: NBD and iSCSI."""

    # How volumes are exported: nbd, one nbdkit per attachment; lio, iSCSI by the kernel's target, one target per volume.
    # (lio-memory is lio without a kernel, to try out clients of the API.) Detach everything before you change it.
    exporter: str = "nbd"
    # iSCSI: addresses on which targets are reached, ADDRESS or ADDRESS:PORT, [ADDRESS]:PORT for IPv6; several for multipath.
    # 0.0.0.0 or [::], alone: all of the host; an initiator gets the address that routes to it.
    iscsi_portals: tuple[str, ...] = ()
    # iSCSI: what a target's name begins with; volume-ID follows.
    iscsi_prefix: str = "iqn.2010-10.org.openstack:"
    # iSCSI: bytes of a logical block, 512 or 4096. Partition tables count in it, so choose before the first volume is used;
    # an exported volume keeps its own until its last detach.
    iscsi_block_size: int = 512
    # iSCSI: a volume on a device (an LV) answers a write when it is on stable storage, as nbd_write_through has it for NBD.
    # Off: LIO hands requests to the device as they are, faster for many small writes; then what an initiator wrote and
    # flushed may be lost with this host's power, when the flush comes again afterwards. Changes at a volume's next attach.
    iscsi_write_through: bool = True
    # Address on which NBD exports listen for other hosts; empty: this host only.
    nbd_listen: str = ""
    # TLS with a key of each attachment's own on that address. The kernel's NBD client cannot do TLS: switch it off only
    # where only the hypervisor hosts reach the address, because every client that does has the volumes.
    nbd_tls: bool = True
    # Exports on that address answer a write when it is on stable storage; flushes then cost nothing. An initiator survives a
    # power cut of this host and sends its flush again, but not the writes that were answered: without this they may be
    # lost, and the flush succeed. Off: faster for many small writes, safe where this host never loses its memory.
    nbd_write_through: bool = True
    nbd_first_port: int = 10810
    nbd_last_port: int = 11809
    # nbdkit filters in front of every export, and their arguments: for tests of what is behind them.
    nbd_filters: tuple[str, ...] = ()
    nbd_filter_args: tuple[str, ...] = ()

    def checks(self) -> Iterator[Check]:
        """What is wrong with these settings, whatever the others are."""
        yield Check(self.exporter not in EXPORTERS, "exporter", f"must be one of {', '.join(EXPORTERS)}")
        yield Check(self.iscsi_block_size not in (512, 4096), "iscsi_block_size", "must be 512 or 4096")
        yield Check(
            not _IQN_PREFIX.fullmatch(self.iscsi_prefix),
            "iscsi_prefix",
            "must begin like iqn.2010-10.org.example: and have no capitals",
        )
        yield Check(self.nbd_first_port > self.nbd_last_port, "nbd_last_port", "must not be below nbd_first_port")
