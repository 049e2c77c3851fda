"""What a host does for its storage backends, and what the API asks of them."""
