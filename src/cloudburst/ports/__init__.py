"""Ports of the engine: interfaces through which it uses backends, workers and journals."""
