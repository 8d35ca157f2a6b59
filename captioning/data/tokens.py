"""Captions cut into words once: kept on disk as numbers, for the next start and other processes.

    Tokens.of(captions)                        lists of words -> Tokens
    tokens_of(captions, tokenizer, folder)     texts -> Tokens, kept in `folder`

Cutting COCO's 414,113 captions into words takes longer than reading a hundred times as many
numbers. What is kept does not depend on the vocabulary, so any threshold can be chosen later. The
file's name has a hash of all captions and of the tokenizer's own source: others are never used.
"""

import hashlib
import inspect
import unicodedata
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from captioning import distributed, scripts, treebank
from captioning.files import atomic_write, short_message
from captioning.safe_load import LOAD_ERRORS
from vocabulary import tokenize

CHUNK = 10_000  # captions hashed at once
READ_ERRORS: tuple[type[Exception], ...] = (OSError, *LOAD_ERRORS)


@dataclass(frozen=True)
class Tokens:
    """Captions as numbers of words.

    words    the distinct words
    numbers  (W,) int32, the words of all captions one after the other: `words[numbers[0]]`, ...
    lengths  (N,) int32, how many of them each caption has
    """

    words: list[str]
    numbers: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, captions: Iterable[Sequence[str]]) -> "Tokens":
        """Return the captions, lists of words, as numbers."""
        known: dict[str, int] = {}
        numbers, lengths = array("i"), array("i")
        for words in captions:
            numbers.extend([known.setdefault(word, len(known)) for word in words])
            lengths.append(len(words))
        return cls([*known], np.array(numbers, np.int32), np.array(lengths, np.int32))

    def __len__(self) -> int:
        return len(self.lengths)

    def counts(self) -> Counter[str]:
        """Return how often each word occurs."""
        found = np.bincount(self.numbers, minlength=len(self.words)).tolist()
        return Counter(dict(zip(self.words, found, strict=True)))

    def take(self, rows: Sequence[int]) -> "Tokens":
        """Return these captions, in this order."""
        ends = self.lengths.cumsum()
        parts = [self.numbers[ends[row] - self.lengths[row] : ends[row]] for row in rows]
        return Tokens(self.words, np.concatenate(parts), self.lengths[list(rows)])


def tokens_of(captions: list[str], tokenizer: Callable[[str], list[str]], folder: Path) -> Tokens:
    """Return the words of the captions as numbers; those of the course's tokenizer are kept.

    Of several processes the first one writes the file, and the others read it.
    """
    if tokenizer is not tokenize:
        return Tokens.of(map(tokenizer, captions))
    path = folder / f"captions-{key_of(captions)}.npz"
    tokens = _load(path, len(captions)) if distributed.rank() == 0 else None
    if distributed.rank() == 0 and tokens is None:
        tokens = Tokens.of(map(tokenize, captions))
        _save(path, tokens)
    distributed.all_gather("ready")
    return tokens or _load(path, len(captions)) or Tokens.of(map(tokenize, captions))


def key_of(captions: list[str]) -> str:
    """Return 16 hex digits of all that the words depend on."""
    sources = [inspect.getsource(part) for part in (tokenize, treebank, scripts)]
    found = hashlib.sha256("".join(sources).encode())
    found.update(f"{version('nltk')} {unicodedata.unidata_version}".encode())
    for first in range(0, len(captions), CHUNK):
        text = "\0".join([*captions[first : first + CHUNK], ""])
        found.update(text.encode(errors="surrogatepass"))
    return found.hexdigest()[:16]


def _save(path: Path, tokens: Tokens) -> None:
    """Keep the tokens; a folder that cannot be written costs the next start some time, no more."""
    words = "\n".join(tokens.words).encode(errors="surrogatepass")
    try:
        with atomic_write(path) as file:
            np.savez(
                file,
                words=np.frombuffer(words, np.uint8),
                numbers=tokens.numbers,
                lengths=tokens.lengths,
            )
    except OSError as error:
        print(f"note: the words of the captions are not kept in {path.parent} ({error.strerror})")


def _load(path: Path, count: int) -> Tokens | None:
    """Return the tokens of `count` captions, or None, with a note where the file is broken."""
    try:
        with np.load(path) as saved:  # never a pickle
            words, numbers, lengths = (saved[name] for name in ("words", "numbers", "lengths"))
        text = words.tobytes().decode(errors="surrogatepass")
        tokens = Tokens(text.split("\n") if text else [], numbers, lengths)
        whole = (numbers.dtype, lengths.dtype, len(lengths)) == (np.int32, np.int32, count)
        if not whole or lengths.min(initial=0) < 0 or lengths.sum() != len(numbers):
            raise ValueError("it does not have the captions")
        if numbers.min(initial=0) < 0 or numbers.max(initial=-1) >= len(tokens.words):
            raise ValueError("it does not have all words")
    except FileNotFoundError:
        return None
    except READ_ERRORS as error:
        print(f"note: {path} is broken ({short_message(error)}); the captions are split again")
        return None
    return tokens
