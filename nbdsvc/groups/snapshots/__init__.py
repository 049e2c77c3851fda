"""Group snapshots: the snapshots of all volumes of a group, of one moment."""
