"""Sentences with the times of their words, from words that are spoken one after another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, groupby
from operator import attrgetter

from cloudburst.media.subtitles.cue_text import CueText, escape
from cloudburst.media.subtitles.cues import CLAUSE_ENDS, SENTENCE_ENDS, Cue
from cloudburst.media.subtitles.phrases import thai_words

# Length of silence, in milliseconds, that ends a sentence. Voices pause for 200 to 400 ms at commas
# and for 600 to 900 ms between sentences.
_PAUSE = 500
# Largest sentence that is not divided: two lines of 42 letters, and 7 seconds (Netflix, Timed Text
# Style Guide, 2026) until its last word, whose end may not be known. A Chinese, Japanese or Korean
# character counts as two letters.
_MAX_WIDTH = 84
_MAX_LENGTH = 7_000
# A file has one word in each cue if this share of its cues, and this number, are single words
# in a row, half of them shown for less than this time; two of them may overlap a little.
_MIN_SHARE = 0.8
_MIN_WORDS = 2
_MAX_MEDIAN = 700
_MAX_OVERLAP = 100
# Number of characters of a text in which its next word is searched. A number may be written with
# digits, and be spoken in several words.
_REACH = 16

_IDEOGRAPHS = "\u2e80-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff"
# Scripts without spaces between words: these, Thai, Lao, Burmese and Khmer.
_UNSPACED = f"{_IDEOGRAPHS}\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_OPENING = "\"'“‘«(\\[{（「『《〈【¿¡"
_CLOSING = "\"'”’»)\\]}）」』》〉】"

_WIDE = re.compile(f"[{_IDEOGRAPHS}\uac00-\ud7a3]")
# A word has no spaces, and up to six characters if they are Chinese, Japanese or Korean.
_WORD = re.compile(rf"\s*(?:[^\s{_IDEOGRAPHS}\uac00-\ud7a3]{{1,30}}|\S{{1,6}})\s*")
_BREAKS = re.compile("[^\\S\u00a0\u202f]+")  # all spaces but those at which no line is broken
# Characters at which words end.
_SEPARATORS = re.compile(rf"[\s{_UNSPACED}]")
_LETTER_SEPARATORS = re.compile(rf"[\s{_IDEOGRAPHS}]")
# Two characters between which there is no space.
_TIGHT = re.compile(rf"[{_UNSPACED}“‘«(\[{{¿¡].|.[{_UNSPACED}”’»)\]}}.,;:!?%…،؛؟।]", re.DOTALL)
_LETTER = re.compile(r"[^\W_]")
_SPOKEN = re.compile(r"[^\W_]|[&%@#+=$€£¥°]")  # a letter, a digit, or a sign that is read out
_BEFORE_WORD = re.compile(rf"\s*[{_OPENING}]*$")
_CLAUSE_END = re.compile(rf"[{CLAUSE_ENDS}][{_CLOSING}]*\s*$")
_SENTENCE_END = re.compile(rf"[{SENTENCE_ENDS}][{_CLOSING}]*\s*$")
_ABBREVIATION = re.compile(r"(?:^|\W)(?:[A-HJ-Z]|\w\.\w|Dr|Mr|Mrs|Ms|Prof|St|vs)\.$")


def join_words(cues: list[Cue]) -> list[Cue]:
    """Return sentences if the cues of a file are single words in a row, otherwise the same list."""
    ordered = sorted(cues, key=attrgetter("start"))
    lengths = sorted(
        cue.end - cue.start
        for cue, following in zip(ordered, [*ordered[1:], None], strict=False)
        if _is_plain(cue)
        and _WORD.fullmatch(cue.text)
        and (following is None or cue.end - _MAX_OVERLAP <= following.start)
    )
    enough = len(lengths) >= max(_MIN_WORDS, _MIN_SHARE * len(cues))
    if not enough or lengths[len(lengths) // 2] >= _MAX_MEDIAN:
        return cues
    joined: list[Cue] = []
    for is_plain, group in groupby(ordered, _is_plain):
        run = list(group)
        joined += (list(sentences([("", run)])) if is_plain else []) or run
    return joined


def _is_plain(cue: Cue) -> bool:
    # A cue with lines of its own, such as one in two languages, is a whole text.
    return not (cue.words or cue.position or "\n" in cue.text or "<" in cue.text)


def sentences(passages: Iterable[tuple[str, Sequence[Cue]]]) -> Iterator[Cue]:
    """Yield the sentences of passages, each of them a text and cues with its words.

    The text has the spaces and the punctuation of the words; if it is empty, or has other words, it
    is made of the words. A sentence ends at its punctuation or at a pause, and a long one is
    divided. A pause that is too short for this does not interrupt the subtitles.
    """
    pieces: list[Cue] = []
    for text, words in passages:
        found = _pieces(_line(text), [word._replace(text=_line(word.text)) for word in words])
        if pieces and found:
            space = _space(pieces[-1].text, found[0].text)
            found[0] = found[0]._replace(text=space + found[0].text)
        pieces += found
    parts = list(chain.from_iterable(map(_parts, _sentences(pieces))))
    for part, following in zip(parts, [*parts[1:], None], strict=False):
        yield _cue(part, following[0].start if following else 0)


def _line(text: str) -> str:
    return _BREAKS.sub(" ", text)


def _pieces(text: str, words: Sequence[Cue]) -> list[Cue]:
    """Return the words, each with the text from its start to the next word."""
    spoken = [word for word in words if _SPOKEN.search(word.text)]
    found, count = _found(text, spoken)
    if 3 * count <= len({word.text for word in spoken}):  # a number may be there for each digit
        found, _ = _found(_joined([word.text for word in words]), spoken)
    return found


def _found(text: str, words: Sequence[Cue]) -> tuple[list[Cue], int]:
    """Return the pieces of a text, and the number of words that are in it, in this order."""
    found: list[Cue] = []
    thai = set[int]()
    # Characters of Thai that have times are parts of words, which the base install cannot find.
    if len(text) <= 3 * len(words):
        with suppress(ImportError):
            thai.update(thai_words(text))
    count = at = start = 0
    # A service may write its words without capitals (Azure, transcription).
    lower = text.lower() if len(text.lower()) == len(text) else text
    for word in words:
        bare = word.text.strip()
        place = lower.find(bare if lower is text else bare.lower(), at, at + len(bare) + _REACH)
        # A single letter is a part of a word also in scripts without spaces.
        separators = _SEPARATORS if len(bare) > 1 else _LETTER_SEPARATORS
        is_new = place in thai or separators.search(text[max(0, at - 1) : place + 1])
        if found and (place < 0 or not is_new):
            found[-1] = found[-1]._replace(end=max(found[-1].end, word.end))
        elif place >= 0:
            if match := _BEFORE_WORD.search(text[at:place]) if found else None:
                found[-1] = found[-1]._replace(text=text[start : at + match.start()])
                start = at + match.start()
            found.append(word)
        if place >= 0:
            at = place + len(bare)
            count += 1
    if found:
        found[-1] = found[-1]._replace(text=text[start:])
    return found, count


def _joined(words: Sequence[str]) -> str:
    if any(word[:1].isspace() for word in words[1:]):  # the words have their own spaces
        return "".join(words)
    text = [""]
    for word in filter(None, map(str.strip, words)):
        text += _space(text[-1], word), word
    return "".join(text)


def _space(before: str, after: str) -> str:
    apart = before[-1:] + after[:1]
    return "" if len(apart) < 2 or " " in apart or _TIGHT.match(apart) else " "


def _sentences(pieces: Sequence[Cue]) -> Iterator[list[Cue]]:
    sentence: list[Cue] = []
    for piece in pieces:
        if sentence and (piece.start - sentence[-1].end >= _PAUSE or _is_end(sentence[-1], piece)):
            yield sentence
            sentence = []
        sentence.append(piece)
    if sentence:
        yield sentence


def _is_end(piece: Cue, following: Cue) -> bool:
    text = piece.text.strip()
    if not _SENTENCE_END.search(text) or _ABBREVIATION.search(text):
        return False
    letter = _LETTER.search(following.text)
    return letter is None or not letter[0].islower()


def _parts(sentence: list[Cue]) -> Iterator[list[Cue]]:
    """Yield a sentence in parts that are not too long: divided at commas, pauses, in the middle."""
    text = "".join(piece.text for piece in sentence)
    width = len(text) + len(_WIDE.findall(text))
    length = sentence[-1].start - sentence[0].start
    if len(sentence) == 1 or (width <= _MAX_WIDTH and length <= _MAX_LENGTH):
        yield sentence
        return
    third = max(1, len(sentence) // 3)

    def quality(at: int) -> tuple[bool, int, int]:
        before, after = sentence[at - 1], sentence[at]
        tenths = (after.start - before.end) // 100
        return bool(_CLAUSE_END.search(before.text)), tenths, -abs(2 * at - len(sentence))

    cut = max(range(third, len(sentence) - third + 1), key=quality)
    yield from _parts(sentence[:cut])
    yield from _parts(sentence[cut:])


def _cue(part: Sequence[Cue], following: int) -> Cue:
    start, end = part[0].start, max(piece.end for piece in part)
    shown_until = following if start < following < end + _PAUSE else end
    timed = CueText(start, shown_until)
    for piece in part:
        timed.mark(piece.start)
        timed.add_text(escape(piece.text))
    timed.mark(end)
    text, words = timed.finish()
    return Cue(start, shown_until, text, words=words)
