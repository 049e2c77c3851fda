"""The tasks of a host for its storage backends, and the use cases of the API on backends."""
