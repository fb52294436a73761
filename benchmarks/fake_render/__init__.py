"""Worker with fake renders, for benchmarks of everything except the render itself."""
