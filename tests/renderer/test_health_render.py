"""Options of the render service's test render."""

from __future__ import annotations

from cloudburst.models.options import RenderOptions
from cloudburst.renderer.job import JobOptions
from cloudburst.renderer.test_render import TEST_OPTIONS


def test_the_test_render_is_small_and_has_all_other_options_with_their_defaults():
    """They are written down there, because their module needs pydantic, which takes 0.2 s."""
    expected = JobOptions.from_options(RenderOptions(effects=("zoom_in",), size="480x270"))
    assert JobOptions.from_values(TEST_OPTIONS) == expected
