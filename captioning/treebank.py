"""The Penn Treebank's rules: where a text is cut into words. No torch in here.

    treebank_words("a dog can't.")   -> ["a", "dog", "ca", "n't"]

NLTK has the rules; what it lacks are full stops inside a text, as in a caption of two sentences.
The reference scorers of captions cut a text in the same way.
"""

import functools
import re
from collections.abc import Iterator
from typing import Any

HAS_LETTER_OR_DIGIT = re.compile(r"[^\W_]")
PLAIN = re.compile(r"(?:[a-z0-9]+(?:-[a-z0-9]+)*(?:,?\s+|$|(?=\.)))*[\s.]*")
CONTRACTIONS = {"cannot", "gimme", "gonna", "gotta", "lemme", "wanna"}  # two words each
ABBREVIATION = re.compile(  # words that keep their full stop: letters (`u.s.`), titles, dates
    r"[^\W\d_](\.[^\W\d_])*|mrs?|ms|dr|prof|rev|hon|esq|[js]r|ph\.d|messrs|mme|mlle|ste?|mt|ft|ave"
    r"|blvd|rd|sq|ct|sgt|lt|col|gen|capt|cmdr|cpl|pvt|maj|adm|gov|sen|rep|pres|inc|co|corp|ltd|bros"
    r"|assn|bldg|dept|univ|intl|natl|mfg|tel|ext|est|vs|etc|al|cf|jan|feb|mar|apr|ju[nl]|aug|sept?"
    r"|oct|nov|dec|mon|tues?|wed|thu|thurs|fri|calif|fla|mich|minn"
)


@functools.cache
def _tokenizer() -> Any:
    from nltk.tokenize import NLTKWordTokenizer  # rules only: needs no NLTK download

    return NLTKWordTokenizer()


def treebank_words(text: str) -> list[str]:
    """Return the words of a text in lower case; tokens that are punctuation only are left out."""
    if PLAIN.fullmatch(text):  # nine captions of ten: words, commas, a full stop at the end
        words = text.replace(",", " ").replace(".", " ").split()
        if not _may_abbreviate(text, words) and CONTRACTIONS.isdisjoint(words):
            return words
    tokens = _tokenizer().tokenize(" ".join(_without_full_stops(text.split())))
    return [token for token in tokens if HAS_LETTER_OR_DIGIT.search(token)]


def _may_abbreviate(text: str, words: list[str]) -> bool:
    """Return whether the full stop at the end of a plain text may belong to its last word."""
    return "." in text and bool(words) and _keeps_full_stop(words[-1], is_last=True)


def _keeps_full_stop(word: str, is_last: bool) -> bool:
    """Return whether a full stop after `word` belongs to it; not to a last `a` or `b`."""
    return bool(ABBREVIATION.fullmatch(word)) and not (is_last and len(word) == 1)


def _without_full_stops(words: list[str]) -> Iterator[str]:
    """Yield the words without the full stops of sentences; those of abbreviations stay."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        bare = word.rstrip(".,;:!?\"')]}>") if "." in word else word
        marks = word[len(bare) :]
        is_number = bare in ("no", "nos") and following[:1].isdigit()
        if "." in marks and not is_number and not _keeps_full_stop(bare, is_last=not following):
            marks = marks.replace(".", " ")
        if bare.startswith(".") and not bare[1:2].isdigit():
            bare = bare.lstrip(".")
        yield bare + marks
    yield "."  # the last full stop is the only one that the Treebank's rules split off
