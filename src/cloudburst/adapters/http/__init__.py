"""HTTP clients of render services. No other package imports httpx."""
