"""Scenarios of whole runs in virtual time, each with a lower bound of its wall time."""
