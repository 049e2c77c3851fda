"""The HTTP face: one file a resource. It knows use cases (manager/) and no driver, exporter or data path."""
