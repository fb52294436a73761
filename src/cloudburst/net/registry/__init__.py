"""Client of container registries (OCI distribution specification), and unpacking of images.

It pushes and pulls images without Docker. The emulator uses it, too, so that callers translate
`RegistryError` into their own errors.
"""
