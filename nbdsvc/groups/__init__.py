"""Groups of volumes: made, changed, snapshotted, copied, replicated and deleted together."""
