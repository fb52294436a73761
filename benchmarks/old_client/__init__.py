"""``cloudburst-fargate`` from PyPI, which this package replaces, in an environment of its own."""
