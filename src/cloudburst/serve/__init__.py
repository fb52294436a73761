"""Standing server: page, jobs over HTTP, and tools for agents (MCP)."""
