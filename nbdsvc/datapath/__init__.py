"""Python's face of the C core: sources, copies, extents. Besides it only the server of an export imports nbdsvc._native."""
