"""Subtitle files that are made to cost too much: read and drawn in bounded time and memory."""

from __future__ import annotations

import json
import random
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from cloudburst.media.input_error import InvalidInputError
from cloudburst.media.subtitles import read_subtitles
from cloudburst.media.subtitles.subrip_webvtt import to_subrip
from cloudburst.models.options import RenderOptions
from cloudburst.renderer.fonts import find_font
from cloudburst.renderer.job import InputFaultError
from cloudburst.renderer.process_limits import limit_memory
from cloudburst.renderer.subtitle_painter import SubtitlePainter
from cloudburst.renderer.subtitle_style import subtitle_style
from cloudburst.renderer.subtitle_track import subtitle_states
from support.speech_files import CHINESE, ENGLISH, FILES, written
from support.substation import ass, dialogue, style

READ_SECONDS = 6
"""CPU seconds in which a file is read; the worst one takes 0.5 s alone on a machine of 2026."""
READ_BYTES = 300_000_000
"""Memory in which a file is read."""
DRAW_SECONDS = 15
"""CPU seconds in which the states of ten seconds are found, and the first ones are drawn."""
PAINTED_STATES = 12
MANY = 200_000
"""Number of repetitions: work that grows with its square takes minutes."""

VTT = "WEBVTT\n\n"
CUE = "00:00.000 --> 00:10.000\n"
SRT = "1\n00:00:00,000 --> 00:00:10,000\n"
LONG = ("0:00:00.00", "0:00:10.00")


def noise(alphabet: str, length: int, seed: int = 1) -> str:
    return "".join(random.Random(seed).choices(alphabet, k=length))


def sung(text: str) -> str:
    """An .ass file with one line of ten seconds."""
    return ass(dialogue(text, *LONG))


ASS_NOISE = "{}\\\\ibuskKrpacnfNht0123456789&H(),.-[]:x字 "
TAGS = ["\\k1", "\\i1", "\\c&H1&", "\\t(", ")", "\\p1", "\\r", "\\an5", "{", "}", "\\N", "x", "字"]


def shuffled_tags(count: int) -> str:
    return "".join(random.Random(7).choices(TAGS, k=count))


ONE = '{"word": "ab", "start": 1, "end": 2},'


def spoken(words: list[str], step: float = 0.1, *, start: float = 0, **fields: object) -> str:
    """JSON of words in a row."""
    items = [
        {"word": word, "start": start + n * step, "end": start + n * step + 0.1}
        for n, word in enumerate(words)
    ]
    return json.dumps({**fields, "words": items})


def filled(unit: str, head: str = "[", tail: str = "{}]") -> str:
    """JSON of 8 MB."""
    return head + unit * ((8_388_600 - len(head) - len(tail)) // len(unit)) + tail


CASES: dict[str, Callable[[], str | bytes]] = {
    # SubStation
    "ass: very many empty groups": lambda: sung("{}" * MANY + "x"),
    "ass: very many tags in one group": lambda: sung("{" + "\\i1" * MANY + "}x"),
    "ass: very many groups of karaoke": lambda: sung("{\\k1}x" * MANY),
    "ass: endless karaoke without text": lambda: sung("{\\k999999999}" * MANY + "x"),
    "ass: karaoke of no length": lambda: sung("{\\k0}x" * 1_000),
    "ass: karaoke of a huge number": lambda: sung("{\\k" + "9" * MANY + "}x"),
    "ass: karaoke of negative length": lambda: sung("{\\k-50}a{\\k50}b"),
    "ass: very many open braces": lambda: sung("{" * MANY),
    "ass: very many closing braces": lambda: sung("x{\\i1" + "}" * 1_500),
    "ass: very many parentheses": lambda: sung("{\\t" + "(" * MANY + ")" * MANY + "\\i1}x"),
    "ass: nested transformations": lambda: sung("{" + "\\t(0,1," * MANY + ")" * MANY + "}x"),
    "ass: very many line breaks": lambda: sung("\\N" * MANY + "x"),
    "ass: a thousand lines": lambda: sung("\\N".join("x" * 900)),
    "ass: hard spaces only": lambda: sung("\\h" * MANY),
    "ass: a drawing of megabytes": lambda: sung("{\\p1}" + "m 0 0 l 9 9 " * MANY + "{\\p0}x"),
    "ass: colours all the time": lambda: sung("{\\c&H1&}x{\\c&H2&}y" * 20_000),
    "ass: huge colour": lambda: sung("{\\c&H" + "F" * MANY + "&}x"),
    "ass: resets to styles that are not there": lambda: sung("{\\rNone}x{\\r}" * 500),
    "ass: a style of very many fields": lambda: ass(
        dialogue("x", *LONG), styles=("Style: " + "Default," * MANY,)
    ),
    "ass: a format of very many fields": lambda: ass(
        dialogue("x", *LONG), styles=("Format: " + "Name," * MANY, style())
    ),
    "ass: a hundred thousand styles": lambda: ass(
        dialogue("x", *LONG), styles=tuple(f"Style: {n},Arial" for n in range(100_000))
    ),
    "ass: styles with huge numbers": lambda: ass(
        dialogue("x", *LONG), styles=(style(colour="9" * MANY, alignment=10**60),)
    ),
    "ass: a hundred thousand lines that are not shown": lambda: ass(
        *[dialogue("{\\p1}m 0 0", *LONG)] * 30_000
    ),
    "ass: layers of one line": lambda: ass(*[dialogue("x", *LONG)] * 30_000),
    "ass: twenty thousand lines at once": lambda: ass(
        *(dialogue(f"{n}", *LONG) for n in range(20_000))
    ),
    "ass: huge times": lambda: ass(dialogue("x", "9999:99:99.999", "99999999:00:00.00")),
    "ass: times with very many digits": lambda: ass(
        dialogue("x", "0:00:00." + "0" * MANY, "1:0:0")
    ),
    "ass: negative times": lambda: ass(dialogue("x", "-1:00:00.00", "0:00:05.00")),
    "ass: lines of no length": lambda: ass(*[dialogue("x", "0:00:01.00", "0:00:01.00")] * 999),
    "ass: NUL bytes": lambda: sung("a\0b{\\i1\0}c"),
    "ass: utf-16 without its last byte": lambda: sung("字" * 99).encode("utf-16")[:-1],
    "ass: two encodings in one file": lambda: (
        sung("字").encode() + dialogue("字").encode("gb18030")
    ),
    "ass: surrogates": lambda: b"\xff\xfe" + "[Events]\n".encode("utf-16-le") + b"\x00\xd8" * 99,
    "ass: megabytes of sections": lambda: "[Events]\n" * MANY,
    "ass: megabytes of formats": lambda: "[Events]\n" + "Format: Text\n" * MANY,
    "ass: megabytes of newlines": lambda: "[Script Info]\n" + "\n" * 2_000_000,
    "ass: megabytes of spaces": lambda: "[Script Info]" + " " * 2_000_000,
    "ass: megabytes of comments": lambda: ";\n" * MANY + "[Script Info]\n",
    "ass: noise": lambda: sung(noise(ASS_NOISE, MANY)),
    "ass: noise in place of a file": lambda: "[Events]\n" + noise(ASS_NOISE + "\n", MANY),
    "ass: shuffled tags": lambda: sung(shuffled_tags(200_000)),
    "ass: fewer shuffled tags": lambda: sung(shuffled_tags(2_000)),
    "ass: right to left": lambda: sung("{\\k10}\u202eשלום{\\k10}\u2067مرحبا" * 30),
    "ass: combining marks in words": lambda: sung("e{\\k1}" + "\u0301{\\k1}" * 500 + "x"),
    "ass: words that begin with a joiner": lambda: sung("{\\k9}\u200d👍{\\k9}\ufe0f{\\k9}🏽" * 60),
    # WebVTT
    "vtt: very many times": lambda: VTT + CUE + "<00:01.000>" * MANY + "x",
    "vtt: very many words": lambda: VTT + CUE + "<00:01.000>x" * MANY,
    "vtt: a word for each letter": lambda: (
        VTT + CUE + "".join(f"<00:0{n // 100}.{n % 100:02}0>字" for n in range(900))
    ),
    "vtt: times that go back": lambda: VTT + CUE + "<00:09.000>a<00:01.000>b<00:10.000>c",
    "vtt: times beyond the cue": lambda: VTT + CUE + "<99:59.000>a<999:59:59.000>b",
    "vtt: times of many digits": lambda: VTT + CUE + "<" + "9" * MANY + ":00.000>a<00:01.000>b",
    "vtt: times of points alone": lambda: VTT + CUE + "<...:::>a<00:01.000>b<.>" * 300,
    "vtt: tags in tags": lambda: VTT + CUE + "<c.x><00:01.000>" * MANY + "</c>" * MANY,
    "vtt: overrides between words": lambda: VTT + CUE + "{\\i1}<00:01.000>{\\an9}x{\\k" * 500,
    "vtt: cues of no length": lambda: VTT + "00:01.000 --> 00:01.000\n<00:01.000>x\n\n" * 9_999,
    "vtt: many cues with words": lambda: (
        VTT
        + "".join(
            f"{n:02}:00.000 --> {n:02}:59.000\n" + "<00:00.001>x" * 150 + "\n\n" for n in range(90)
        )
    ),
    # LRC
    "lrc: very many times in one line": lambda: "[00:01]" * MANY + "x",
    "lrc: long lines at many times": lambda: ("[00:01]" * 900 + "<00:01>x" * 1_900 + "\n") * 40,
    "lrc: ten thousand long lines at one time": lambda: (
        ("[00:01]" * 2_000 + "x" * 2_000 + "\n") * 5
    ),
    "lrc: very many words": lambda: "[00:01]" + "<00:01>x" * MANY,
    "lrc: very many times of words without text": lambda: "[00:01]" + "<00:01>" * MANY + "x",
    "lrc: a line of spaces": lambda: "[00:01]" + " " * 2_000_000,
    "lrc: brackets": lambda: "[00:01]x" + "[" * MANY + "]" * MANY,
    "lrc: brackets and spaces": lambda: "[00:01]x" + ("<" + " " * 999) * 7_000,
    "lrc: empty lines": lambda: "[00:01]x\n" + "[00:02]\n" * MANY,
    "lrc: huge offset": lambda: "[offset:-999999999]\n[00:01]x\n[offset:" + "9" * MANY + "]",
    "lrc: offset before the start": lambda: "[offset:999999]\n[00:01]a\n[00:02]b",
    "lrc: huge minutes": lambda: "[999:99.999]a\n[" + "9" * MANY + ":00]b",
    "lrc: offsets and newlines": lambda: "[00:01]x" + "\n" * 2_000_000 + "[offset:1]",
    # SubRip
    "srt: very many line breaks": lambda: SRT + "\\N" * MANY + "x",
    "srt: a thousand line breaks": lambda: SRT + "\\N".join("x" * 600),
    "srt: very many groups": lambda: SRT + "{\\pos(1,1)}" * MANY + "x",
    "srt: a group of megabytes": lambda: SRT + "{\\" + "\\fad(((" * MANY + "}x",
    "srt: brackets": lambda: "[" * 2_000_000,
    "srt: ten thousand words": lambda: "".join(
        f"{n // 60:02}:{n % 60:02},000 --> {n // 60:02}:{n % 60:02},500\nab\n\n"
        for n in range(10_000)
    ),
    # JSON
    "json: very deep lists": lambda: "[[" * 149_000,
    "json: very deep objects": lambda: '{"result":' * 299_000,
    "json: a word in 900 lists": lambda: "[" * 900 + ONE[:-1] + "]" * 900,
    "json: megabytes of lists": lambda: filled("[],"),
    "json: megabytes of objects": lambda: filled('{"a":0},'),
    "json: as many objects as may be": lambda: "[" + '{"a":0},' * 299_000 + "{}]",
    "json: as many lines as may be": lambda: "{}\n" * 299_000,
    "json: megabytes of numbers": lambda: filled("1,", '[{"a":[', "1]}]"),
    "json: numbers and a wide character": lambda: filled("1,", '[{"😀":[', "1]}]")[:4_000_000],
    "json: megabytes of strings": lambda: filled('"ab",', '[{"words":[', '""]}]'),
    "json: very many names": lambda: "{" + ",".join(f'"{n:x}":0' for n in range(700_000)) + "}",
    "json: a number of megabytes": lambda: filled("9", '[{"word":"a","end":1,"start":', "}]"),
    "json: a fraction of megabytes": lambda: filled("9", '[{"word":"a","end":1,"start":0.', "}]"),
    "json: numbers that are none": lambda: (
        '[{"word":"a","start":NaN,"end":1},{"word":"b","start":-1,"end":Infinity},'
        '{"word":"c","start":1e308,"end":1e999},{"word":"d","start":2,"end":1}]'
    ),
    "json: very many words": lambda: spoken([f"w{n}" for n in range(99_000)]),
    "json: very many words at once": lambda: spoken(["ab"] * 99_000, 0.0),
    "json: very many words in a text": lambda: spoken(["ab"] * 60_000, text="ab " * 60_000),
    "json: very many words in another text": lambda: spoken(["ab"] * 60_000, text="x" * 4_000_000),
    "json: long words in a long text": lambda: spoken(["x" * 1_900] * 2_000, text="x" * 4_000_000),
    "json: times that go back": lambda: spoken([f"w{n}" for n in range(900)], -0.1, start=99),
    "json: characters": lambda: json.dumps(
        {
            "characters": list("ab. " * 24_000),
            "character_start_times_seconds": [n / 10 for n in range(96_000)],
            "character_end_times_seconds": [n / 10 for n in range(1, 96_001)],
        }
    ),
    "json: very many characters": lambda: json.dumps(
        {name: [0] * 500_000 for name in ("characters", "character_start_times_seconds")}
    ),
    "json: in itself": lambda: "[" + '{"frontend":"{\\"frontend\\":0}"},' * 99_000 + "{}]",
    "json: passages that one repeats": lambda: json.dumps(
        [json.loads(spoken([f"w{n}"], start=n / 10)) for n in range(30_000)]
        + [json.loads(spoken([f"w{n}" for n in range(30_000)]))],
        separators=(",", ":"),
    ),
    "json: names in deep offsets": lambda: (
        '{"offsets":' * 300
        + ("{" + ",".join(f'"{n:x}":0' for n in range(700_000)) + "}" * 300 + "}")
    ),
    "json: broken in itself": lambda: '{"frontend": "{"}',
    "json: braces in a string": lambda: '{"a": "' + "{" * 290_000 + '"}',
    "json: a string without an end": lambda: '{"a": "' + "x" * 8_000_000,
    "json: spaces": lambda: '[{"word":"a' + " " * 8_000_000 + 'b","start":0,"end":1}]',
    "json: points and brackets": lambda: spoken(["a"], text="a" + ".)" * 2_000_000),
    "json: surrogates and NUL": lambda: spoken(["\ud800\0a"] * 9),
    "json: tags": lambda: spoken(["<i>", "{\\an8}", "-->", "\\N", "</i>", "a"] * 9),
    "json: combining marks": lambda: spoken(["\u0301", "e", "\u200d", "\ufe0f", "a"] * 99),
}


GATE = {
    "ass: very many empty groups",
    "ass: noise in place of a file",
    "vtt: a word for each letter",
    "lrc: very many words",
    "srt: a thousand line breaks",
    "json: very deep lists",
    "json: megabytes of objects",
}
"""Cases that are not nightly: of each format, some that cost little."""


class MemoryGuard:
    """Limit of the memory that the process may have in addition, while the block runs."""

    def __enter__(self) -> None:
        if sys.platform == "linux":
            import resource

            status = Path("/proc/self/status").read_text(encoding="ascii")
            (private_kb,) = re.findall(r"^VmData:\s+(\d+) kB", status, re.MULTILINE)
            self._earlier = resource.getrlimit(resource.RLIMIT_DATA)
            limit_memory(1024 * int(private_kb) + READ_BYTES)

    def __exit__(self, *_: object) -> None:
        if sys.platform == "linux":
            import resource

            resource.setrlimit(resource.RLIMIT_DATA, self._earlier)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in GATE else pytest.mark.nightly) for name in CASES],
)
def test_a_hostile_file_is_refused_or_drawn_in_bounded_time_and_memory(name):
    content = CASES[name]()
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    began = time.process_time()
    found = read(data)
    assert time.process_time() - began < READ_SECONDS
    if isinstance(found, InvalidInputError):
        assert found.found
        assert found.expected
        assert len(str(found)) < 400
        return
    assert len(found.ignored) <= 45
    assert all(len(feature) < 60 for feature in found.ignored)
    check_words(found.cues)
    draw(found.cues)
    # What the public image gets has the same times, and is no danger for our own reader either.
    again = read_subtitles(to_subrip(found.cues).encode("utf-8", "replace"))
    assert [(cue.start, cue.end, cue.position) for cue in again.cues] == [
        (cue.start, cue.end, cue.position) for cue in found.cues
    ]


def read(data):
    try:
        with MemoryGuard():
            return read_subtitles(data)
    except InvalidInputError as error:
        return error


def check_words(cues):
    """Words are in order, within their cue, and neither begin nor end with a space."""
    for cue in cues:
        assert 0 <= cue.start < cue.end
        at, place = cue.start, 0
        for word in cue.words:
            assert at <= word.start < word.end <= cue.end
            assert place <= word.first < word.last <= len(cue.text)
            text = cue.text[word.first : word.last]
            assert text == text.strip()
            at, place = word.end, word.last


def draw(cues):
    options = RenderOptions(highlight="box", highlight_color="#ff000080")
    look = subtitle_style(options, 1920, 1080)
    began = time.process_time()
    with suppress(InvalidInputError, InputFaultError):  # faults of this file alone
        painter = SubtitlePainter(cues, look, [find_font()], 1920, 1080)
        states = subtitle_states(painter.cues, 300, 30, with_words=True)
        with suppress(InvalidInputError):  # random characters, which are drawn all the same
            painter.left_out()
        for state in states[:PAINTED_STATES]:
            for layer in painter.paint(state.shown, state.words):
                assert 0 <= layer.x < layer.x + layer.width <= 1920
                assert 0 <= layer.y < layer.y + layer.height <= 1080
    assert time.process_time() - began < DRAW_SECONDS


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_of_words_is_refused_or_has_sentences(name, seed):
    chance = random.Random(f"{name} {seed}")
    text = list(written(name, chance.choice((ENGLISH, CHINESE))))
    for _ in range(chance.randint(1, 30)):
        at = chance.randrange(len(text))
        kind = chance.randrange(3)
        if kind == 0:
            text[at] = chance.choice('{}[]",:0123456789.eE-\\nul 字a')
        elif kind == 1:
            text[at : at + chance.randint(1, 40)] = []
        else:
            other = chance.randrange(len(text))
            text[at:at] = text[other : other + chance.randint(1, 200)]
    found = read("".join(text).encode())
    if not isinstance(found, InvalidInputError):
        check_words(found.cues)


def test_there_are_many_cases_and_the_guard_works():
    assert len(CASES) >= 40
    if sys.platform == "linux":
        with pytest.raises(MemoryError), MemoryGuard():
            bytes(2 * READ_BYTES)
