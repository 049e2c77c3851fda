"""Durable execution: an operation is submitted together with its changes of rows, and ends even after crashes."""
