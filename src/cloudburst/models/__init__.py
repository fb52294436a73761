"""Values that cross borders: frozen, validated, without I/O."""
