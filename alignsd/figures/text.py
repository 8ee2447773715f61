"""Text that a figure can draw: a prompt may hold any character, and may be as long as a book."""

import unicodedata
from functools import cache
from textwrap import fill

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from alignsd.figures.style import FONT
from alignsd.kit.views import readable

JOINERS = frozenset("\u200d\ufe0e\ufe0f")  # between the pieces of an emoji, and after an emoji
ZERO_WIDTH = ("Mn", "Me", "Cf")  # Unicode's categories of characters without a width of their own
NO_GLYPH = "\u25a1"  # an empty square, drawn in place of a character that the font lacks


def drawable(value: object) -> str:
    """Return any value as one line of text that matplotlib can draw.

    Beyond what ``views.readable`` does, a character that the font lacks (most emoji, a Chinese
    word) becomes an empty square. The joiners of emoji, and marks without a width that the font
    lacks, are left out. Draw the text with ``parse_math=False``, so that dollar signs in the text
    do not begin a formula.
    """
    glyphs = font_glyphs()
    characters = []
    for character in readable(value):
        if character in JOINERS:
            continue
        if ord(character) in glyphs:
            characters.append(character)
        elif unicodedata.category(character) not in ZERO_WIDTH:
            characters.append(NO_GLYPH)
    return "".join(characters)


def shortened(text: object, width: int, lines: int = 1) -> str:
    """Return any text, drawable, in at most ``lines`` lines of ``width`` characters.

    An ellipsis ends a text that was cut. Lines are broken between words, and within a word that is
    longer than a line.
    """
    enough = width * (lines + 1)  # characters; no need to wrap megabytes of text
    words = " ".join(drawable(text).split())
    return fill(words[:enough], width, max_lines=lines, placeholder=" …")


@cache
def font_glyphs() -> frozenset[int]:
    """Return the code points that the figures' font can draw."""
    return frozenset(FT2Font(font_manager.findfont(FONT)).get_charmap())
