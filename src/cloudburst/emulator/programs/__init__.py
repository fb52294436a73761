"""Programs that the emulator runs in their own processes."""
