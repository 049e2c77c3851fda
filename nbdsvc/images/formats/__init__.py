"""Formats of disk images: how they are recognised, and where their bytes are."""
