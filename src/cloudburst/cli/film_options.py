"""Command-line options for the film of a run."""

from __future__ import annotations

from dataclasses import dataclass

from cyclopts import Group, Parameter

from cloudburst.cli.options import Duration
from cloudburst.film.request import film_request
from cloudburst.models.film import FilmRequest, Transition

FILM = Group("Film", sort_key=15)


@Parameter(name="*", group=FILM)
@dataclass(frozen=True, kw_only=True)
class TransitionFlags:
    """Command-line options for the change from one scene of a film to the next."""

    transition: Transition = "cut"
    """cut, fade (through black) or crossfade. Default: cut."""
    transition_seconds: Duration = 0.5
    """Length of a transition, 0.1 to 10. Default: 0.5."""


@Parameter(name="*", group=FILM)
@dataclass(frozen=True, kw_only=True)
class FilmFlags(TransitionFlags):
    """Command-line options for the film of a run."""

    film: str | None = None
    """Join all videos to this file (.mp4), with chapters and subtitles: a path, or
    s3://bucket/film.mp4 for videos in S3."""

    def request(self) -> FilmRequest | None:
        """Return the request for the film; ``None`` if there is none.

        Raises:
            ConfigurationError: A value is invalid, or the extra ``[film]`` is not installed.
        """
        return film_request(self.film, self.transition, self.transition_seconds)
