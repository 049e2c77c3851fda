"""Quotas: the limits of projects, and their use."""
