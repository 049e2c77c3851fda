"""`nbdsvc copy`: its sources and destinations, which may be files, devices, pipes, NBD exports and images."""
