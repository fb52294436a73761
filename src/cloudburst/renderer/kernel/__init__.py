"""Pixel operations on the planes of frames: in C, and with Pillow where there is no library."""
