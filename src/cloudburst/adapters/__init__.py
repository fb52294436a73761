"""Where the engine's ports meet the world: HTTP, processes, AWS."""
