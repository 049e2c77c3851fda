"""Which pool a new volume goes to. Pure: it is given the pools as they were reported, and neither reads nor waits."""
