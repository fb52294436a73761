"""Render options for the sound of a video: music and loudness."""

from __future__ import annotations

from pydantic import BaseModel, Field

from cloudburst.models.options.values import OptionalLocation

# Shortest music that is repeated, in seconds. The file is opened again for each repetition, which
# takes some milliseconds.
MIN_LOOP_SECONDS = 0.5


class SoundOptions(BaseModel):
    """Music beside the voice of a scene, and loudness of the whole."""

    music: OptionalLocation = Field(default=None, description="the path or URL of an audio file")
    """Location of an audio file that is mixed with the audio of the scene: mp3, wav, m4a, ogg,
    flac, aiff or caf. ``None`` for no music. It begins with the video, and its length does not
    matter: it is repeated, and ends with the video."""
    music_volume: float = Field(
        default=0.2, ge=0, le=1, allow_inf_nan=False, description="a number from 0 to 1"
    )
    """Factor for the samples of the music, from 0 (silent) to 1 (as in the file). 0.2 is 14 dB
    quieter than in the file."""
    music_loop: bool = Field(default=True, description="true or false")
    """True to repeat the music without a gap until the end of the video, which needs music of at
    least half a second. False to play it once; the rest of the video has no music."""
    music_fade: float = Field(
        default=2.0,
        ge=0,
        le=60,
        allow_inf_nan=False,
        description="a number of seconds from 0 to 60",
    )
    """Seconds over which the music becomes louder at the start of the video, and quieter up to its
    end; 0 for none. Each fade takes half of the music at most. Music that is played once and ends
    before the video is faded out up to its own end."""
    music_ducking: float = Field(
        default=0.0, ge=0, le=40, allow_inf_nan=False, description="a number of dB from 0 to 40"
    )
    """Decibels by which the music is lowered while there is voice; 0 for not at all."""
    loudness: float | None = Field(
        default=None,
        ge=-40,
        le=-5,
        allow_inf_nan=False,
        description="a number of LUFS from -40 to -5, or nothing",
    )
    """Integrated loudness of the whole sound in LUFS (EBU R128): -23 is usual for television, -14
    to -16 for the web. One gain is applied to the whole sound, and peaks are limited to -1 dBTP.
    ``None``: the loudness is not changed. Sound that is silent or shorter than 0.4 seconds has no
    loudness, and is not changed."""
