"""NBD: one nbdkit process for each attachment. nbdkit imports this module, too, so it must not import anything."""
