"""Volume types, their extra specs and who may use them."""
