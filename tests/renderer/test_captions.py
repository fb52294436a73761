"""Looks of captions: named ones, rounded boxes, soft shadows, words and cues that grow."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from PIL import Image, ImageChops

from cloudburst.media.subtitles import Cue, Word
from cloudburst.models.options import RenderOptions
from cloudburst.renderer.fonts import Font, find_font
from cloudburst.renderer.letters import Letters
from cloudburst.renderer.planes import bt709
from cloudburst.renderer.subtitle_painter import MAX_GROWTH, CueArea, SubtitlePainter
from cloudburst.renderer.subtitle_style import subtitle_style
from cloudburst.renderer.subtitle_track import SubtitleTrack, subtitle_states
from cloudburst.renderer.text_layout import layout
from support.render_job import drawn_lumas, lay_job
from support.scripts import font_path

FONTS = [find_font(), Font(font_path("thai"), 0, 0)]
SIZE = 1280, 720
YELLOW, BLUE = bt709(0xFF, 0xD6, 0x0A), bt709(0x1F, 0x6F, 0xEB)


def spoken(*words: str) -> Cue:
    """A cue of words that follow each other with the spaces in them."""
    ends = [0, *accumulate(map(len, words))]
    timed = (
        Word(400 * n, 400 * (n + 1), start, start + len(words[n].rstrip()))
        for n, start in enumerate(ends[:-1])
    )
    return Cue(0, 400 * len(words), "".join(words), None, tuple(timed))


CUE = spoken("The ", "lamp ", "is ", "burning ", "again")


def painter(*cues, mark=None, size=SIZE, **options):
    return SubtitlePainter(
        cues or [CUE], subtitle_style(RenderOptions(**options), *size), FONTS, *size, mark=mark
    )


def mask_of(layers, size=SIZE):
    """The masks of layers together on a picture."""
    together = Image.new("L", size)
    for layer in layers:
        mask = Image.frombytes("L", (layer.width, layer.height), layer.mask)
        place = Image.new("L", size)
        place.paste(mask, (layer.x, layer.y))
        together = ImageChops.lighter(together, place)
    return together


def test_a_radius_rounds_the_corners_of_a_box_and_nothing_else():
    (hard, *letters), (round_, *same) = (painter(box_radius=r).paint([0]) for r in (0, 0.25))
    assert same == letters
    one, other = mask_of([hard]), mask_of([round_])
    left, top, right, bottom = one.getbbox()
    assert other.getbbox() == one.getbbox()
    radius = round(50 * 0.25)
    for x, y in ((left, top), (right - 1, top), (left, bottom - 1), (right - 1, bottom - 1)):
        assert (one.getpixel((x, y)), other.getpixel((x, y))) == (204, 0)
    middle = (left + radius, top, right - radius, bottom)
    assert one.crop(middle).tobytes() == other.crop(middle).tobytes()
    mirrored = other.crop((left, top, right, bottom))
    assert mirrored.tobytes() == mirrored.transpose(Image.Transpose.ROTATE_180).tobytes()


def test_a_box_is_at_most_rounded_to_half_circles():
    box, *_ = painter(Cue(0, 9, "i"), box_radius=1, box_padding="0 0").paint([0])
    mask = mask_of([box])
    left, top, right, bottom = mask.getbbox()
    assert mask.getpixel(((left + right) // 2, (top + bottom) // 2)) == 204
    assert mask.getpixel((left, top)) == 0


def test_a_soft_shadow_reaches_beyond_the_letters_and_fades_out():
    hard, soft = (
        painter(
            background_box=False,
            outline_width=0,
            shadow_color="#000000",
            shadow=0.02,
            shadow_blur=b,
        ).paint([0])[0]
        for b in (0, 0.3)
    )
    (left, _, right, _), wider = mask_of([hard]).getbbox(), mask_of([soft]).getbbox()
    assert wider[0] < left - 5
    assert wider[2] > right + 5
    assert max(soft.mask) < max(hard.mask)
    assert sum(soft.mask) == pytest.approx(sum(hard.mask), rel=0.03)


def test_a_shadow_without_distance_is_a_glow():
    plain = painter(background_box=False).paint([0])
    glow, *others = painter(background_box=False, shadow_blur=0.2).paint([0])
    assert others == plain
    assert glow.colour == bt709(0, 0, 0)


@pytest.mark.parametrize("word", range(3))
@pytest.mark.parametrize(
    "words",
    [
        ["burning ", "lamp ", "again"],
        ["你好", "这是", "一艘小船"],
        ["星", "星", "星"],
        ["物語", "を", "さがす"],
        ["มนุษย์", "ทั้ง", "หลาย"],
    ],
    ids=["english", "chinese", "characters", "japanese", "thai"],
)
def test_a_word_that_grows_neither_moves_nor_covers_its_neighbours(words, word):
    cue = spoken(*words)
    look = painter(cue, background_box=False, outline_width=0, highlight="grow")
    plain = mask_of(look.paint([0]))
    layers = look.paint([0], [word])
    (grown,) = (mask_of([one]) for one in layers if one.colour == YELLOW)
    others = mask_of(one for one in layers if one.colour != YELLOW)
    look._style = look._style._replace(highlight=look._style.highlight._replace(mode="color"))
    (same,) = (
        mask_of([one])
        for one in look.paint([0], [-1]) + look.paint([0], [word])
        if one.colour == YELLOW
    )
    assert ImageChops.difference(plain, ImageChops.lighter(others, same)).getextrema()[1] < 3
    large, small = grown.getbbox(), same.getbbox()
    growth = (large[2] - large[0]) - (small[2] - small[0])
    assert 2 <= growth <= MAX_GROWTH * (small[2] - small[0]) + 4
    assert large[0] + large[2] == pytest.approx(small[0] + small[2], abs=3)
    assert ImageChops.multiply(others, grown).getextrema()[1] == 0


def test_no_gap_between_chinese_words_shows_where_the_current_word_ends():
    letters = Letters(FONTS, 100)

    def advances(*words):
        cue = spoken(*words)
        lines = layout(
            cue.text, bold=True, room=9999, letters=letters, words=cue.words, word_spacing=12
        )
        return [glyph.advance for line in lines for run in line for glyph in run.glyphs]

    expected = advances(*"小云醒来了，他在哪里")
    assert advances("小云", "醒来了，", "他", "在哪里") == expected
    assert advances("小云醒来了，他在哪里") == expected
    assert expected[0] == pytest.approx(letters.em + 6)


@pytest.mark.parametrize(
    ("family", "text", "others", "expected"),
    [
        ("SC", "直った！", (), "JP"),
        ("SC", "直！", ("走れ、", "走れ。"), "JP"),  # as the other texts of the file
        ("SC", "直！", (), "SC"),
        ("SC", "鲜の每日！", ("走直！",), "SC"),
        ("SC", "直！\n直った！", (), "JP"),
        ("SC", "骨 한글", (), "KR"),
        ("TC", "直った！", (), "TC"),
    ],
)
def test_japanese_and_korean_texts_have_their_shapes_unless_a_family_is_given(
    family, text, others, expected
):
    def layers(name):
        style = subtitle_style(RenderOptions(), *SIZE)
        cues = [Cue(0, 9, text), *(Cue(9, 19, other) for other in others)]
        return SubtitlePainter(cues, style, [find_font(f"Noto Sans CJK {name}")], *SIZE).paint([0])

    assert layers(family) == layers(expected)
    if family != expected:
        assert layers(family) != layers("TC")


def test_the_box_of_a_word_is_seen_around_a_wide_outline():
    layers = painter(caption="pop", highlight="box").paint([1], [2])
    (box,) = (mask_of([one]).getbbox() for one in layers if one.colour == BLUE)
    (outline,) = (one for one in layers if one.colour == bt709(0, 0, 0) and max(one.mask) == 255)
    above = mask_of([outline]).crop((box[0], 0, box[2], SIZE[1])).getbbox()
    word = mask_of([outline]).crop((0, box[1], box[2], box[3])).getbbox()
    assert box[1] + 2 < above[1] < above[3] < box[3]
    assert word[2] < box[2] - 2


def states(**options):
    look = painter(**options)
    return subtitle_states(look.cues, 60, 30, with_words=True, pops=look._style.pops), look


def test_each_part_of_a_text_that_pops_grows_into_its_place():
    found, look = states(animation="pop", words_at_once=3)
    assert len(look.cues) == 2
    growing = [state for state in found if min(state.scales, default=1) < 1]
    starts = {round(30 * cue.start / 1000) for cue in look.cues}
    assert [state.first_frame for state in growing] == [
        start + n for start in sorted(starts) for n in range(4)
    ]
    for first, *_ in (growing[:4], growing[4:]):
        assert first.scales[0] < 0.8
    assert all(one.scales < other.scales for one, other in pairwise(growing[:4]))
    track = SubtitleTrack(found, look)
    boxes = [mask_of(track.layers_at(at)).getbbox() for at in range(5)]
    whole = mask_of(track.layers_at(6)).getbbox()
    widths = [right - left for left, _, right, _ in boxes]
    assert widths == sorted(widths)
    assert widths[0] < 0.8 * widths[4]
    for left, top, right, bottom in boxes:
        assert left + right == pytest.approx(whole[0] + whole[2], abs=3)
        assert whole[0] - 2 <= left
        assert right <= whole[2] + 2
        assert whole[1] - 2 <= top
        assert bottom <= whole[3] + 2


def test_frames_that_grow_do_not_depend_on_the_frames_that_were_drawn_before():
    options = {"caption": "pop", "font_size": 20}
    found, look = states(**options)
    track = SubtitleTrack(found, look)
    expected = [list(track.layers_at(at)) for at in range(60)]
    for first in (0, 1, 2, 7, 31, 36, 59):
        other = SubtitleTrack(*states(**options))
        for at in range(first, 60, 13):
            assert list(other.layers_at(at)) == expected[at]


def test_a_video_with_a_caption_shows_its_words_and_frames(tmp_path):
    text = (
        "WEBVTT\n\n00:00.000 --> 00:01.200\nOne <00:00.300>two <00:00.600>three <00:00.900>four\n"
    )
    pictures = []
    for caption in ("classic", "karaoke", "pop"):
        (tmp_path / caption).mkdir()
        lay_job(tmp_path / caption, size="480x270", subtitle=text, caption=caption)
        pictures += drawn_lumas(tmp_path / caption, 36, 15)
    assert all(one.tobytes() != other.tobytes() for one, other in pairwise(pictures))


MARKS = {
    "bottom-right": CueArea(800, 560, 1270, 710),
    "bottom": CueArea(340, 660, 940, 710),
    "top": CueArea(0, 0, 1280, 60),
}


@pytest.mark.parametrize("mark", MARKS)
def test_subtitles_are_above_or_below_the_watermark(mark):
    position = "top" if mark == "top" else "bottom"
    options = {"subtitle_position": position, "subtitle_margin": "0.08 0.05"}
    free = mask_of(painter(**options).paint([0])).getbbox()
    moved = mask_of(painter(mark=MARKS[mark], **options).paint([0])).getbbox()
    area = CueArea(*moved)
    assert CueArea(*free).overlaps(MARKS[mark])
    assert not area.overlaps(MARKS[mark])
    assert (moved[0], moved[2]) == (free[0], free[2])
    assert (moved[1] < free[1]) == (position == "bottom")


@pytest.mark.parametrize(
    "mark", [CueArea(0, 0, 1280, 720), CueArea(0, 0, 100, 100), CueArea(100, 5, 1100, 700)]
)
def test_subtitles_stay_where_they_are_without_room_or_without_need(mark):
    assert painter(mark=mark).paint([0]) == painter().paint([0])


def letters_of(text, **options):
    """The letters of a text as a mask."""
    options |= {"background_box": False, "outline_width": 0, "font_size": 40, "language": "english"}
    (layer,) = painter(Cue(0, 9, text), **options).paint([0])
    return mask_of([layer])


def ink(text, **options):
    return sum(value * n for value, n in enumerate(letters_of(text, **options).histogram()))


def test_bold_chinese_is_as_dark_as_the_bold_font():
    """These letters of Noto Sans CJK Bold have 1.515 times the ink of those of Regular."""
    text = "村里的人们每天清晨都会听见钟声从山顶传来"
    assert ink(text, bold=True) / ink(text, bold=False) == pytest.approx(1.515, rel=0.08)


def test_bold_characters_of_many_strokes_stay_open():
    for character in "囊量露蠢":
        mask = letters_of(character, bold=True)
        left, top, right, bottom = mask.getbbox()
        assert ink(character, bold=True) < 0.64 * 255 * (right - left) * (bottom - top)


def test_the_option_bold_beats_the_language():
    assert ink("word", bold=None, language="english") == ink("word", bold=False)
    style = subtitle_style(RenderOptions(language="chinese", bold=False), *SIZE)
    assert not style.bold
