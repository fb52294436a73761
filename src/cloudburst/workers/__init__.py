"""Implementations of the protocols in `cloudburst.ports`: backends, and HTTP clients of workers."""
