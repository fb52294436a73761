"""HTTP connections, transfers of files, and the client of container registries."""
