"""HTTP clients of render services."""
