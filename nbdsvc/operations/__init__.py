"""Durable execution: an operation is submitted with the rows it changes, and from then on it ends, whatever dies."""
