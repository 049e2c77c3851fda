"""Volumes: one operation a file, with its request, its checks, its steps (do and undo side by side) and its ends."""
