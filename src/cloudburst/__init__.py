"""Scenes in, videos out: rendered on machines that exist only while they work, from asyncio."""
