"""Sentences in many scripts, and the fonts in ``tests/data/fonts`` that have just their letters.

``python tests/support/scripts.py FOLDER`` makes these fonts again, from a folder with Debian's
fonts-noto-core and fonts-noto-color-emoji (``/usr/share/fonts/truetype/noto``).
"""

from __future__ import annotations

import sys
from pathlib import Path

import uharfbuzz as hb

FONTS = Path(__file__).parents[1] / "data" / "fonts"

# The first sentence of the Universal Declaration of Human Rights.
SENTENCES = {
    "english": "All human beings are born free and equal in dignity and rights. “VAT”, AWAY, To!",
    "french": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "vietnamese": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi.",
    "russian": "Все люди рождаются свободными и равными в своём достоинстве и правах.",
    "greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "chinese": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心。",
    "japanese": "すべての人間は、生まれながらにして自由であり、尊厳と権利について平等である。",
    "korean": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "arabic": "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق، وقد وُهبوا عقلًا.",
    "persian": "تمام افراد بشر آزاد به دنیا می‌آیند و از لحاظ حیثیت و حقوق با هم برابرند.",
    "urdu": "تمام انسان آزاد اور حقوق و عزت کے اعتبار سے برابر پیدا ہوئے ہیں۔",
    "hebrew": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם שָׁלוֹם",
    "hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "bengali": "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে।",
    "tamil": "மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்; அவர்கள் சமமானவர்கள்.",
    "thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผล",
    "khmer": "មនុស្សទាំងអស់ កើតមកមានសេរីភាព និងសមភាព ក្នុងផ្នែកសេចក្ដីថ្លៃថ្នូរនិងសិទ្ធិ។",
}
EMOJI = "😀❤️👍👍🏽👨‍👩‍👧🇩🇪1️⃣"

# The font of a script, without ``Noto`` and ``-Regular``, by the sentences that it draws.
_FAMILIES = {
    "Sans": ("greek",),
    "SansArabic": ("arabic", "persian", "urdu"),
    "SansHebrew": ("hebrew",),
    "SansDevanagari": ("hindi",),
    "SansBengali": ("bengali",),
    "SansTamil": ("tamil",),
    "SansThai": ("thai",),
    "SansKhmer": ("khmer",),
}


def font_path(language: str) -> Path | None:
    """Return the font with the letters of a sentence; ``None``: Noto Sans CJK has them."""
    for family, languages in _FAMILIES.items():
        if language in languages:
            return FONTS / f"Noto{family}.ttf"
    return None


def _make(source: Path, target: Path, text: str) -> None:
    wanted = hb.SubsetInput()
    wanted.sets(hb.SubsetInputSets.UNICODE).update(map(ord, text))
    wanted.flags = hb.SubsetFlags.NO_HINTING
    face = hb.subset(hb.Face(hb.Blob.from_file_path(str(source))), wanted)
    target.write_bytes(face.blob.data)
    sys.stdout.write(f"{target.name}: {target.stat().st_size} bytes\n")


if __name__ == "__main__":
    for family, languages in _FAMILIES.items():
        text = "".join(SENTENCES[language] for language in languages)
        _make(Path(sys.argv[1], f"Noto{family}-Regular.ttf"), FONTS / f"Noto{family}.ttf", text)
    _make(Path(sys.argv[1], "NotoColorEmoji.ttf"), FONTS / "NotoColorEmoji.ttf", EMOJI)
