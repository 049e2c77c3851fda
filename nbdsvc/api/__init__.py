"""The HTTP face: one file a resource. It knows use cases and no driver, exporter or data path."""
