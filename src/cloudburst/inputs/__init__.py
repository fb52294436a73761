"""Scenes and their files: reading lists of scenes, checking files, and their fingerprints."""
