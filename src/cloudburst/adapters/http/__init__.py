"""Workers that are reached over HTTP. The only place that imports httpx."""
