"""The Python API of the C core: sources, copies, extents. Only it and the server of an export import nbdsvc._native."""
