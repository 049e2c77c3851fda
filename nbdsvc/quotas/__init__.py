"""Quotas: what a project may have, and what it uses."""
