"""Writer of subtitles in SubRip form, for workers that read no other form."""

from __future__ import annotations

from collections.abc import Sequence

from cloudburst.media.subtitles.cues import Cue, timestamp


def to_subrip(cues: Sequence[Cue]) -> str:
    r"""Return a file in SubRip form with these cues, except the times of their words.

    Positions are written as ``{\an8}``. Text that would have a meaning in this form gets an
    invisible character, which keeps its look.
    """
    blocks: list[str] = []
    for number, cue in enumerate(cues, 1):
        text = cue.text.replace("-->", "-\u2060->").replace("{\\", "{\u2060\\")
        text = text.replace("\\N", "\\\u2060N").replace("\\h", "\\\u2060h")
        text = "\n".join(line.strip() or "\u00a0" for line in text.split("\n"))
        place = "" if cue.position is None else f"{{\\an{cue.position}}}"
        times = f"{timestamp(cue.start)} --> {timestamp(cue.end)}"
        blocks.append(f"{number}\n{times}\n{place}{text}\n")
    return "\n".join(blocks)
