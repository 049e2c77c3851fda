"""Transports without a data path: their targets are their notes. For clients of the API, and for tests."""
