"""HTTP clients of render services. Only `cloudburst.registry` imports httpx, too."""
