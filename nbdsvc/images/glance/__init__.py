"""Glance's images as sources of volumes, and volumes as images of Glance (API v2, with Keystone's tokens)."""
