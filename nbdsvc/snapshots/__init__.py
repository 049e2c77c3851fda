"""Snapshots: one operation a file, with its request, its arguments, its checks, its steps and its ends."""
