"""Volume backends, one module or folder each. They implement nbdsvc/driver.py and import nothing above it."""
