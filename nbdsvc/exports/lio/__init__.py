"""iSCSI exports by LIO, the kernel's target."""

from nbdsvc.exports.lio.exporter import LioExporter

__all__ = ["LioExporter"]
