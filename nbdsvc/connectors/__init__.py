"""The initiator's side: from a connection_info to a block device on this host, and back without a trace."""
