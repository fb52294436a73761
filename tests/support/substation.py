"""Subtitle files in SubStation form."""

from __future__ import annotations

V4_PLUS = (
    "Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour,"
    " Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline,"
    " Shadow, Alignment, MarginL, MarginR, MarginV, Encoding"
)
EVENTS = "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text"


def style(
    name: str = "Default", colour: str = "&H00FFFFFF", flags: str = "0,0,0,0", alignment: int = 2
) -> str:
    """Return a line with a style; the flags are bold, italic, underlined and struck through."""
    rest = f"100,100,0,0,1,2,2,{alignment},10,10,10,1"
    return f"Style: {name},Arial,48,{colour},&H000000FF,&H00000000,&H00000000,{flags},{rest}"


def dialogue(
    text: str, start: str = "0:00:01.00", end: str = "0:00:03.00", style: str = "Default"
) -> str:
    """Return a line with text and its time."""
    return f"Dialogue: 0,{start},{end},{style},,0,0,0,,{text}"


def ass(*lines: str, styles: tuple[str, ...] = (style(),), info: str = "") -> str:
    """Return a file with these lines of dialogue."""
    return "\n".join(
        (
            *("[Script Info]", "; made by hand", "ScriptType: v4.00+", info, ""),
            *("[V4+ Styles]", V4_PLUS, *styles, ""),
            *("[Events]", EVENTS, *lines, ""),
        )
    )
