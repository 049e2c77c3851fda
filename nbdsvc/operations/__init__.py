"""Durable execution: an operation is admitted with the rows it changes, and from then on it ends, whatever dies."""
