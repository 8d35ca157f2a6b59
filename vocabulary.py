"""Words and numbers: the only thing a decoder ever sees of a caption. No torch in here.

    tokenize("A dog's ball.")    -> ["a", "dog", "'s", "ball"]
    Vocabulary(...)              words <-> ids, frequent words only; a JSON file anyone can read
    vocab.encode("a dog runs")   -> [0, 4, 17, 52, 1]     <start> a dog runs <end>
    vocab.decode([0, 4, 17, 1])  -> "a dog"

Ids: `<start>` 0, `<end>` 1, `<unk>` 2, `<pad>` 3, then words, the most frequent first.
Also here, because every other module starts from this one: `write_atomically` and `cli_errors`.
"""

import contextlib
import functools
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path


@contextlib.contextmanager
def write_atomically(path: str | os.PathLike, mode: str = "wb") -> Iterator:
    """Open a file beside `path`, rename it into place when the block ends well.

    A killed process leaves the old file or the new one, never half of one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def cli_errors() -> Iterator[None]:
    """What a user can mend (`OSError`, `ValueError`) becomes one sentence and exit status 1."""
    try:
        yield
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; what was saved so far is kept")


def read_json(path: str | os.PathLike, wanted: type = dict) -> dict | list:
    """The JSON value in `path`, which must be a `wanted`; everything else is one sentence.

    Raises FileNotFoundError where there is no such file, ValueError where it is not such JSON.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing. Check the path.") from None
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number without end
        raise ValueError(f"{path} is not JSON ({error}). Fetch or write it again.") from None
    if not isinstance(value, wanted):
        raise ValueError(f"{path} holds a JSON {type(value).__name__}, not a {wanted.__name__}.")
    return value


@functools.cache
def _word_tokenizer():
    from nltk.tokenize import NLTKWordTokenizer  # rules only: needs no NLTK download

    return NLTKWordTokenizer()


HAS_LETTER_OR_DIGIT = re.compile(r"[^\W_]")
ENCLITIC = re.compile(r" ('s|'re|'ve|'ll|'d|'m|n't)\b")


def tokenize(caption: str) -> list[str]:
    """Lower-case words of `caption`, without the tokens that are punctuation only.

    The rules are the Penn Treebank's (`don't` -> `do`, `n't`), which caption scores use as well.
    """
    return [
        word
        for word in _word_tokenizer().tokenize(caption.lower())
        if HAS_LETTER_OR_DIGIT.search(word)
    ]


class Vocabulary:
    """The words a captioner knows; a word's id is its place in `words`.

    words      all words, the four special ones first: start, end, unknown, padding
    tokenizer  text -> list of words; `tokenize` unless you have a reason

    >>> vocab = Vocabulary.build([["a", "dog"], ["a", "cat"]], vocab_threshold=1)
    >>> vocab.encode("A dog!")
    [0, 4, 6, 1]
    """

    start, end, unk, pad = range(4)  # <start> 0, <end> 1, <unk> 2, <pad> 3

    def __init__(self, words: list[str], tokenizer: Callable[[str], list[str]] = tokenize):
        is_list = isinstance(words, list) and all(isinstance(word, str) for word in words)
        if not is_list or len(words) < 4:
            raise ValueError("A vocabulary is a list of words, the four special ones first.")
        self.words, self.tokenizer = list(words), tokenizer
        self.ids = {word: number for number, word in enumerate(self.words)}
        if len(self.ids) != len(self.words):
            twice = next(word for word, count in Counter(words).items() if count > 1)
            raise ValueError(f"The vocabulary names {twice!r} twice; build it again.")

    @classmethod
    def build(
        cls,
        captions: Iterable[list[str]],
        vocab_threshold: int = 5,
        max_size: int | None = None,
        start_word: str = "<start>",
        end_word: str = "<end>",
        unk_word: str = "<unk>",
        pad_word: str = "<pad>",
        tokenizer: Callable[[str], list[str]] = tokenize,
    ) -> "Vocabulary":
        """The words that `captions` (lists of words) use at least `vocab_threshold` times.

        The most frequent first, equals in alphabetical order; at most `max_size` of them.
        """
        if vocab_threshold < 1:
            raise ValueError(f"vocab_threshold counts uses; {vocab_threshold} must be 1 or more.")
        counts = Counter(word for caption in captions for word in caption)
        special = [start_word, end_word, unk_word, pad_word]
        frequent = [word for word, count in counts.items() if count >= vocab_threshold]
        frequent = sorted(set(frequent) - set(special), key=lambda word: (-counts[word], word))
        return cls(special + frequent[:max_size], tokenizer)

    @classmethod
    def load(cls, vocab_file: str | os.PathLike) -> "Vocabulary":
        """The vocabulary in a JSON file that `save` wrote; ValueError where it is none."""
        try:
            return cls(read_json(vocab_file)["words"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{vocab_file} is no vocabulary ({error}). Build it again.") from None

    def save(self, vocab_file: str | os.PathLike) -> None:
        with write_atomically(vocab_file, "w") as file:
            json.dump({"words": self.words}, file, ensure_ascii=False, indent=0)

    def __len__(self) -> int:
        return len(self.words)

    def __call__(self, word: str) -> int:
        """The id of `word`, that of `<unk>` where it is not known."""
        return self.ids.get(word, self.unk)

    def encode(self, caption: str | list[str]) -> list[int]:
        """Ids of a caption (text, or its words): `<start>` first, `<end>` last."""
        words = self.tokenizer(caption) if isinstance(caption, str) else caption
        return [self.start, *(self.ids.get(word, self.unk) for word in words), self.end]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids` up to the first `<end>`; `<start>` and `<pad>` are not spoken."""
        words = []
        for number in ids:
            if number == self.end:
                break
            if number not in (self.start, self.pad):
                words.append(self.words[number])
        return ENCLITIC.sub(r"\1", " ".join(words))
