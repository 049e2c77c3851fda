"""Where images come from, and whether they may be opened at all."""
