"""NBD: one nbdkit process an attachment. Imported inside nbdkit too, so that nothing may be imported here."""
