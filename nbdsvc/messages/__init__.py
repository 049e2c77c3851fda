"""User messages: why a request failed after its reply, read from the operations that failed."""
