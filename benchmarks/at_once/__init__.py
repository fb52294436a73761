"""Renders through the service's own queue, and what they do to some cores."""
