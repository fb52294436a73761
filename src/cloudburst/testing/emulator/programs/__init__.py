"""Programs that run by themselves, with the standard library only."""
