"""Pure data: what nbdsvc keeps, and which status may follow which. No I/O, no settings."""
