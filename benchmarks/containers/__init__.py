"""Registries and containers on this machine, for benchmarks of the image."""
