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
    # To try out clients of the API there are simulations without a data path: lio-memory (iSCSI), iser-memory (iSER),
    # fc-memory (Fibre Channel), fake-iscsi and fake-iser (no target at all). Detach all volumes before you change this
    # setting.
    exporter: str = "nbd"
    # iSCSI: addresses on which targets are reached, ADDRESS or ADDRESS:PORT, [ADDRESS]:PORT for IPv6; several for
    # multipath. 0.0.0.0 or [::] (the only entry then): all addresses of the host; an initiator gets the address that
    # routes to it.
    iscsi_portals: tuple[str, ...] = ()
    # iSCSI: the prefix of a target's IQN; volume-ID follows.
    iscsi_prefix: str = "iqn.2010-10.org.openstack:"
    # iSER: portals as for iSCSI, which they replace; empty: those of iSCSI.
    iser_portals: tuple[str, ...] = ()
    # iSER: the prefix of a target's IQN.
    iser_prefix: str = "iqn.2010-10.org.iser.openstack:"
    # Fibre Channel: the port names of the simulated target; of several, connection_info has a list.
    fc_target_wwpns: tuple[str, ...] = ("3000000000000001",)
    # iSCSI: bytes of a logical block, 512 or 4096. Partition tables count in blocks, so choose before the first volume
    # is used; an exported volume keeps its block size until its last detach.
    iscsi_block_size: int = 512
    # iSCSI: a write to a volume on a device (an LV) is answered when the write is on stable storage, for the reason
    # given at nbd_write_through. Off: LIO passes requests to the device as they are, which is faster for many small
    # writes; data that an initiator wrote and flushed may then be lost in a power cut of this host, if the initiator
    # has to repeat the flush afterwards. A change takes effect at a volume's next attach.
    iscsi_write_through: bool = True
    # Address on which NBD exports listen for other hosts; empty: only this host can attach volumes.
    nbd_listen: str = ""
    # Whether clients on that address need TLS with the attachment's own pre-shared key. The kernel's NBD client cannot
    # do TLS. Switch TLS off only where no host but the hypervisors reaches the address: any host that does can use the
    # volumes.
    nbd_tls: bool = True
    # Exports on that address answer a write when the write is on stable storage; flushes then cost nothing. An
    # initiator survives a power cut of this host and repeats its flush, but not the writes that were answered before:
    # without this setting those may be lost although the flush succeeds. Off: faster for many small writes, and safe
    # only where this host's memory survives a power cut.
    nbd_write_through: bool = True
    nbd_first_port: int = 10810
    nbd_last_port: int = 11809
    # nbdkit filters in front of every export, and their arguments; tests use them to delay or fail requests.
    nbd_filters: tuple[str, ...] = ()
    nbd_filter_args: tuple[str, ...] = ()

    def checks(self) -> Iterator[Check]:
        """The checks that concern these settings alone."""
        yield Check(self.exporter not in EXPORTERS, "exporter", f"must be one of {', '.join(EXPORTERS)}")
        yield Check(self.iscsi_block_size not in (512, 4096), "iscsi_block_size", "must be 512 or 4096")
        for name in ("iscsi_prefix", "iser_prefix"):
            yield Check(
                not _IQN_PREFIX.fullmatch(getattr(self, name)),
                name,
                "must begin like iqn.2010-10.org.example: and have no capitals",
            )
        yield Check(self.nbd_first_port > self.nbd_last_port, "nbd_last_port", "must not be below nbd_first_port")
