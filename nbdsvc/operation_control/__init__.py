"""Use cases of operations: list and show them, cancel them, limit their rate."""
