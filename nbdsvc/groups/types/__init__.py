"""Group types, their group specs and who may use them."""
