"""Chooses the pool of a new volume: pure functions of the reported pools, without I/O."""
