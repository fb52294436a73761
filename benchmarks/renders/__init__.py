"""Measurements of renders: inputs, renderers, costs and quality."""
