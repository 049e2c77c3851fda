"""A random walk through the product: any requests, writes and faults, against a model of the bytes and of the rows."""
