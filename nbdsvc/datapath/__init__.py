"""Python's face of the C core: sources, copies, extents. Nothing else but the export's plugin imports nbdsvc._native."""
