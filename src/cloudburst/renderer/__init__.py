"""Renderer of scenes: the render process, which turns the input files of a job into a video."""
