"""Confinement of processes by Linux. It imports nothing else of the package, and has no state."""
