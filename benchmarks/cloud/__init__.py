"""An emulated account, workers that note when they were asked what, and our client in a process."""
