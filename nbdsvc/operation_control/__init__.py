"""What clients do with operations: list and show them, cancel them, limit their copying."""
