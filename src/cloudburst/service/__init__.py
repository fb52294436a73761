"""The render service: what runs in the container, and on this machine without AWS."""
