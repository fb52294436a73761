"""Story of the demo, which shows what a run makes."""

from pathlib import Path

STORY = Path(__file__).parents[1] / "story"
"""Folder with the scenes of the demo: pictures, sounds and subtitles of the same names."""
