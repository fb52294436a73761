"""Render service: the HTTP server that renders scenes in a container; it also runs without AWS."""
