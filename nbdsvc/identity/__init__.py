"""Tokens of Keystone: validated by it, and remembered for minutes. Loaded only where the setting auth is keystone."""
