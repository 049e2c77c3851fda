"""Backups: copies of volumes in a store that outlives them."""
