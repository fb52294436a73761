"""Engine, which decides which worker renders which scene and when a worker is started.

It reaches backends through `cloudburst.ports`, and imports no AWS library, HTTP library or
`subprocess`. docs/internals/architecture.md shows its parts.
"""
