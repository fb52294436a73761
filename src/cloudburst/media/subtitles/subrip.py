"""Reader of subtitles in SubRip form (.srt)."""

from __future__ import annotations

from cloudburst.media.subtitles.blocks import OVERRIDES, Block, override_tags, parse_blocks
from cloudburst.media.subtitles.cues import Subtitles, Word


def parse(text: str) -> Subtitles:
    """Return the content of a file in SubRip form; without cues if it has another form.

    Lines end with a newline.
    """
    return parse_blocks(text, _read_block, is_subrip=True)


def _read_block(block: Block) -> tuple[str, tuple[Word, ...], int | None]:
    r"""Return the text of a SubRip cue; see `cloudburst.media.subtitles.blocks.Reader`.

    ``\N`` is a line break, and ``\h`` a space at which no line is broken.
    """
    body = block.body.replace("\\N", "\n").replace("\\h", "\u00a0")
    return OVERRIDES.sub(override_tags, body).strip(), (), None
