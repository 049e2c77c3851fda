"""Images on web servers: read in place by byte ranges, or once in order where a server has no ranges."""
