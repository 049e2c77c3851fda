"""Transfers: a volume that its project offers, and that another one accepts by a key."""
