"""Division of cues in time: into parts of a few lines, or of a few words. Pure functions.

A part is a cue with a piece of the text, the tags that are in effect there, and the words in it.
Parts follow each other without gaps, from the start of the cue to its end.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, groupby, pairwise, starmap
from typing import TypeAlias
from unicodedata import east_asian_width, name

from cloudburst.media.subtitles import Cue, Word
from cloudburst.media.subtitles.cues import CLAUSE_ENDS, MAX_WORDS, SENTENCE_ENDS, check_number
from cloudburst.renderer.text_layout import TAG, find_phrases, is_unspaced, line_breaks

# Function that returns the number of lines that a cue takes.
CountLines: TypeAlias = Callable[[Cue], int]

_CLOSING_MARKS = " \n\t\"'”’»)]}）］】」』》〉"
# Distance from an even division at which the end of a sentence, a comma and another word are
# equally good ends of a part, as shares of its length.
_SENTENCE, _COMMA, _WORD = 0.0, 0.15, 0.45
_STYLE_TAG = re.compile(r"</?([ibus]|font)\b", re.IGNORECASE)


def divide_cues(
    cues: Iterable[Cue], count_lines: CountLines, *, lines: int, more: int, words_at_once: int
) -> list[Cue]:
    """Return cues in parts of ``words_at_once``, or else in parts of ``lines`` lines.

    With 0, they are not divided. A part of words that would take more lines has fewer words. A cue
    of up to ``more`` lines is not divided either. Two texts in different scripts, such as a
    sentence and its translation, are divided side by side. Raises `InvalidInputError` for too many
    parts.
    """
    parts: list[Cue] = []
    for cue in cues:
        if words_at_once:
            parts += _in_words(cue, words_at_once, lines, count_lines)
        elif lines and count_lines(cue) > more:
            parts += _DividedCue(cue).in_lines(lines, count_lines)
        else:
            parts.append(cue)
        check_number(len(parts), MAX_WORDS, "parts of subtitles")
    return parts


def _in_words(cue: Cue, number: int, lines: int, count_lines: CountLines) -> Iterator[Cue]:
    for part in _DividedCue(cue).in_words(number):
        taken = count_lines(part) if lines and number > 1 else 0
        if taken > lines:
            fewer = min(number - 1, -(-number * lines // taken))
            yield from _in_words(part, fewer, lines, count_lines)
        else:
            yield part


class _DividedCue:
    # Indices are those of the text without its tags, if nothing else is said.

    def __init__(self, cue: Cue) -> None:
        self._cue = cue
        tags = {index for tag in TAG.finditer(cue.text) for index in range(*tag.span())}
        self._places = [index for index in range(len(cue.text)) if index not in tags]
        self._plain = "".join(cue.text[place] for place in self._places)
        self._letters = [0, *accumulate(not each.isspace() for each in self._plain)]
        inside, edges = set[int](), set[int]()
        for word in cue.words:
            first, last = (bisect_left(self._places, at) for at in (word.first, word.last))
            inside.update(range(first + 1, last))
            if sum(map(_is_wide, self._plain[first:last])) != 1:  # not a character of a word
                edges |= {first, last}
        places = {*line_breaks(self._plain), *filter(self._is_unspaced_edge, edges)}
        breaks = [
            at
            for at, end in pairwise((*sorted(places), len(self._plain)))
            if self._letters[at] and any(map(str.isalnum, self._plain[at:end]))
        ]
        phrases = edges | find_phrases(self._plain)
        self._breaks = [
            at
            for at in breaks
            if at not in inside and (at in phrases or not _is_wide(self._plain[at - 1]))
        ] or breaks
        self._texts = list(self._parallel_texts())

    def in_words(self, number: int) -> list[Cue]:
        divisions = [self._groups(*text, number) for text in self._texts]
        if len(divisions) > 1:
            count = max(map(len, divisions)) - 1
            divisions = [self._evenly(*text, count) for text in self._texts]
        return self._parts(divisions)

    def in_lines(self, lines: int, count_lines: CountLines) -> list[Cue]:
        most = 1 + max(len(self._within(*text)) for text in self._texts)
        room = max(lines, len(self._texts))
        count = -(-count_lines(self._cue) // room)
        while True:
            count = min(count, most)
            parts = self._parts([self._evenly(*text, count) for text in self._texts])
            is_short = len(parts) < count  # in time
            if count == most or is_short or all(count_lines(part) <= room for part in parts):
                return parts
            count += 1 + count // 4  # so that a text of words as wide as lines takes few attempts

    def _is_unspaced_edge(self, at: int) -> bool:
        edge = self._plain[at - 1 : at + 1]
        return len(edge) == 2 and edge[1].isalnum() and all(map(is_unspaced, edge))

    def _parallel_texts(self) -> Iterator[tuple[int, int]]:
        """Yield the texts that are shown side by side: one, or one in each script."""
        lines = [found.span() for found in re.finditer(r"[^\n]+", self._plain)]
        groups = groupby(lines, lambda line: _script(self._plain[slice(*line)]))
        found = [(script, [*group]) for script, group in groups]
        if 1 < len(found) == len({script for script, _ in found}):
            yield from ((group[0][0], group[-1][1]) for _, group in found)
        else:
            yield 0, len(self._plain)

    def _within(self, start: int, end: int) -> Sequence[int]:
        return self._breaks[bisect_right(self._breaks, start) : bisect_left(self._breaks, end)]

    def _evenly(self, start: int, end: int, count: int) -> list[int]:
        """Return the edges of ``count`` parts of similar length, the last of which may be empty."""
        length = max(1, self._letters[end] - self._letters[start]) / count
        edges = [start]
        for number in range(1, count):
            wanted = self._letters[start] + number * length
            places = self._within(edges[-1], end)
            left = max(1, len(places) - (count - 1 - number))  # without those of later parts
            edges.append(
                min(
                    places[:left],
                    key=lambda at: abs(self._letters[at] - wanted) / length + self._cost(at),
                    default=end,
                )
            )
        return [*edges, end]

    def _groups(self, start: int, end: int, number: int) -> list[int]:
        """Return the edges of the fewest parts of up to this number of words, of similar size."""
        edges = [start]
        phrases = (at for at in self._within(start, end) if self._cost(at) < _WORD)
        for phrase in pairwise((start, *phrases, end)):
            places = [phrase[0], *self._within(*phrase), phrase[1]]
            sizes = [0.0, *accumulate(starmap(self._size, pairwise(places)))]
            # For each place: the number of parts before it, the sum of the squares of their sizes,
            # and the start of the last one. A word has at least half the size of another one.
            best = [(0, 0.0, 0)]
            for at in range(1, len(places)):
                found: list[tuple[int, float, int]] = []
                for first in range(max(0, at - 2 * number - 1), at):
                    size = sizes[at] - sizes[first]
                    if size <= number or first == at - 1:
                        found.append((best[first][0] + 1, best[first][1] + size**2, first))
                best.append(min(found))
            ends = [len(best) - 1]
            while ends[-1]:
                ends.append(best[ends[-1]][2])
            edges += [places[at] for at in reversed(ends[:-1])]
        return edges

    def _size(self, start: int, end: int) -> float:
        """Return 1 for a word, and half of it for each character of a script without spaces."""
        word = self._plain[start:end]
        return sum(map(_is_wide, word)) / 2 or any(map(str.isalnum, word))

    def _cost(self, at: int) -> float:
        before = self._plain[max(0, at - 8) : at]
        bare = before.rstrip(_CLOSING_MARKS)
        if bare.endswith(tuple(SENTENCE_ENDS)):
            return _SENTENCE
        return _COMMA if bare.endswith(tuple(CLAUSE_ENDS)) or before.endswith("\n") else _WORD

    def _parts(self, divisions: Sequence[Sequence[int]]) -> list[Cue]:
        times = self._times(divisions, self._cue.words)
        if times[-1] > self._cue.end:  # the words outlast the cue
            times = self._times(divisions, ())
        if times[-1] > self._cue.end:  # too short to be divided
            return [self._cue]
        rows = zip(*map(pairwise, divisions), strict=True)
        return [self._part(*ends, row) for ends, row in zip(pairwise(times), rows, strict=True)]

    def _times(self, divisions: Sequence[Sequence[int]], words: Sequence[Word]) -> list[int]:
        """Return the start of each part, and the end of the last one."""
        cue, letters = self._cue, self._letters
        spoken = bisect_left(self._places, words[0].first) if words else 0
        edges = next((each for each in divisions if each[0] <= spoken < each[-1]), divisions[0])
        known = [(letters[edges[0]], cue.start)]
        for word in words:
            for place, time in ((word.first, word.start), (word.last, word.end)):
                known.append((letters[bisect_left(self._places, place)], time))
        known.append((max(known[-1][0] + 1, letters[edges[-1]]), cue.end))
        times = [cue.start]
        for at in edges[1:-1]:
            later = min(bisect_right(known, (letters[at], math.inf)), len(known) - 1)
            (before, start), (after, end) = known[later - 1 : later + 1]
            time = start + round((end - start) * (letters[at] - before) / (after - before))
            times.append(max(time, times[-1] + 1))
        return [*times, max(cue.end, times[-1] + 1)]

    def _part(self, start: int, end: int, pieces: Iterable[tuple[int, int]]) -> Cue:
        text, words = "", list[Word]()
        for first, last in pieces:
            piece = self._plain[first:last]
            if not piece.strip():
                continue
            begin = self._places[first + len(piece) - len(piece.lstrip())]
            stop = self._places[first + len(piece.rstrip()) - 1] + 1
            text += "\n" * bool(text) + self._tags_before(begin)
            moved = len(text) - begin
            text += self._cue.text[begin:stop]
            after = bisect_right(self._cue.words, begin, key=lambda word: word.last)
            for word in self._cue.words[after:]:
                if word.first >= stop:
                    break
                times = max(word.start, start), min(word.end, end)
                if times[0] < times[1]:
                    places = max(word.first, begin) + moved, min(word.last, stop) + moved
                    words.append(Word(*times, *places))
        return Cue(start, end, text, self._cue.position, tuple(words))

    def _tags_before(self, place: int) -> str:
        """Return the tags that are in effect at a place of the text with its tags."""
        tags = TAG.findall(self._cue.text, 0, place)
        last = {found[1].lower(): tag for tag in tags if (found := _STYLE_TAG.match(tag))}
        return "".join(last.values())


def _is_wide(character: str) -> bool:
    return character.isalnum() and east_asian_width(character) in "WF"


def _script(text: str) -> str:
    scripts = (name(each, "").partition(" ")[0] for each in text if each.isalpha())
    counts = Counter("CJK" if each in {"HIRAGANA", "KATAKANA"} else each for each in scripts)
    return counts.most_common(1)[0][0] if counts else ""
