"""Immutable, validated values that the other packages exchange. No I/O."""
