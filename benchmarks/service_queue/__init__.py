"""Renders through the queue of the render service, and monitors of the cores that they use."""
