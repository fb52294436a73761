"""Our container image, built without Docker: a base image, wheels, and this package."""
