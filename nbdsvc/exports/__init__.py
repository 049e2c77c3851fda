"""Transports, a folder each: how a connector reaches a volume's bytes. They know no database and no driver."""
