"""What differs between rows, backends, exports and initiators: `observe` collects it, `diff` names it, `fix` mends it."""
