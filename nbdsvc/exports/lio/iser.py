"""iSER exports: iSCSI over RDMA. Target, access and data are those of iSCSI; only the transport's name differs."""

from nbdsvc.exports.lio.exporter import LioExporter


class IserExporter(LioExporter):
    """See LioExporter. portals and prefix are those of iSER. So far over the simulator of LIO alone (memory.py)."""

    protocol = "iSER"
    suffix = ".iser"
