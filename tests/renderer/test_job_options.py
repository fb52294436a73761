"""Options of a job: those of the run, also if the job does not name all of them."""

from __future__ import annotations

from dataclasses import MISSING, fields

from cloudburst.models.options import RenderOptions
from cloudburst.renderer.job import JobOptions


def test_defaults_are_those_of_the_render_options() -> None:
    defaults = RenderOptions()
    named = {field.name: field.default for field in fields(JobOptions)}
    assert named["size"] == "1080p"
    for name, default in named.items():
        assert default is MISSING or default == getattr(defaults, name), name
