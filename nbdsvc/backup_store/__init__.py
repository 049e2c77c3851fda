"""Where backups are: the contract of a store, its implementations, and the format in it. docs/backups.md draws it."""
