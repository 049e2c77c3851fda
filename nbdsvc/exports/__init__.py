"""Transports, one a file: how a connector reaches a volume's bytes. They are given paths and know no database."""
