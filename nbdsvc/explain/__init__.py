"""Differences between rows, backends, exports and initiators: `observe` reads, `diff` finds, `fix` repairs."""
