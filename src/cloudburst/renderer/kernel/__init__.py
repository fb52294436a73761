"""Pixel operations on the planes of frames, and B pictures of known vectors: in C."""
