"""Transports, one folder each: how a connector reaches a volume's bytes. They use neither the database nor drivers."""
