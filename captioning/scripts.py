"""Writing systems: every spelling of a word becomes one spelling. No torch in here.

    plain_marks(text)     composed letters, ASCII's apostrophe, other punctuation as spaces
    is_unspaced(text)     whether some of it is in a script without spaces between words
    join_unspaced(text)   removes the spaces that `plain_marks` put between such characters
    nfc(text)             composed letters only: for file names

Chinese, Japanese, Thai, Lao, Burmese and Khmer put no spaces between words. Finding their words
takes a dictionary of each language, so here each character counts as a word.
"""

import re
import unicodedata

APOSTROPHES = re.compile("[\u2018\u2019\u02bc\uff07\u00b4]")
HYPHENS = "\u2010\u2011"
INSIDE_WORDS = "\u00b7\u05f3\u05f4\u200c\u200d"  # of Catalan, Hebrew, Persian
SPACE_OF_NO_WIDTH = "\u200b"
UNSPACED = (  # Thai and Lao, Burmese, Khmer, kana, Chinese characters
    "\u0e01-\u0edf\u1000-\u109f\u1780-\u17df\u3005-\u3007\u3041-\u309f\u30a1-\u30ff\u3105-\u312f"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U000323af"
)
UNSPACED_CHARACTER = re.compile(f"[{UNSPACED}]")
UNSPACED_GAP = re.compile(f"(?<=[{UNSPACED}]) (?=[{UNSPACED}])")
UNSPACED_END = re.compile(f"(?<=[{UNSPACED}])(?![{UNSPACED}\\s])")


def nfc(text: str) -> str:
    """Return `text` with composed letters: `e` and an accent become one character."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def plain_marks(text: str) -> str:
    """Return `text` as words between spaces, however their letters and marks were typed."""
    if text.isascii():
        return text
    text = APOSTROPHES.sub("'", nfc(text)).translate(MARKS)
    return UNSPACED_END.sub(" ", text)


def is_unspaced(text: str) -> bool:
    """Return whether characters of `text` count as words, because their script has no spaces."""
    return not text.isascii() and UNSPACED_CHARACTER.search(text) is not None


def join_unspaced(text: str) -> str:
    """Return `text` without spaces between two characters of scripts that have none."""
    return text if text.isascii() else UNSPACED_GAP.sub("", text)


class _Marks(dict[int, str | int | None]):
    """Character -> what it becomes, for `str.translate`.

    Filled while it is used: of Unicode's many characters few ever occur.
    """

    def __missing__(self, code: int) -> str | int | None:
        character = chr(code)
        category = unicodedata.category(character)
        becomes: str | int | None = code
        if character.isascii() or character in INSIDE_WORDS:
            pass
        elif category[0] in "PZ" or character == SPACE_OF_NO_WIDTH:
            becomes = "-" if character in HYPHENS else " "
        elif category == "Cf":  # such as the soft hyphen and the byte order mark
            becomes = None
        elif UNSPACED_CHARACTER.match(character) and category[0] != "M":
            becomes = f" {character}"  # accents and vowel signs stay on their letter
        self[code] = becomes
        return becomes


MARKS = _Marks()
