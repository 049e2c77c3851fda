"""Chooses the pool of a new volume. Pure: takes the pools as they were reported, and neither reads nor waits."""
