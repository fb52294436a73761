"""``cloudburst-fargate`` from PyPI, which this package replaces, in its own environment."""
