"""Backend of worker processes on this machine."""
