"""Volume backends, one module or folder each. They implement nbdsvc/driver/ and import nothing above it."""
