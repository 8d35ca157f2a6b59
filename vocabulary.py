"""Words and ids: all that a decoder ever sees of a caption. No torch in here.

    tokenize("A dog's ball.")    -> ["a", "dog", "'s", "ball"]
    Vocabulary(...)              words <-> ids, frequent words only; a JSON file anyone can read
    vocab.encode("a dog runs")   -> [0, 4, 17, 52, 1]     <start> a dog runs <end>
    vocab.decode([0, 4, 17, 1])  -> "a dog"

Ids: `<start>` 0, `<end>` 1, `<unk>` 2, `<pad>` 3, then words, the most frequent first.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable

from captioning.files import PathLike, atomic_write, read_json
from captioning.scripts import join_unspaced, nfc, plain_marks
from captioning.text import plural
from captioning.treebank import treebank_words

ENCLITIC = re.compile(r" ('s|'re|'ve|'ll|'d|'m|n't)\b")


def tokenize(caption: str) -> list[str]:
    """Return the lower-case words of `caption`, without tokens that are punctuation only.

    The rules are the Penn Treebank's (`don't` -> `do`, `n't`), which caption scores use as well.
    Chinese, Japanese, Thai and other scripts without spaces are split into characters.
    """
    return treebank_words(plain_marks(caption.lower()))


class Vocabulary:
    """The words a captioner knows; a word's id is its place in `words`.

    words      all words, the four special ones first: start, end, unknown, padding
    tokenizer  text -> list of words; for languages that `tokenize` does not suit

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
        captions: Iterable[list[str]] | Counter[str],
        vocab_threshold: int = 5,
        max_size: int | None = None,
        start_word: str = "<start>",
        end_word: str = "<end>",
        unk_word: str = "<unk>",
        pad_word: str = "<pad>",
        tokenizer: Callable[[str], list[str]] = tokenize,
    ) -> "Vocabulary":
        """Keep words with at least `vocab_threshold` occurrences in `captions`.

        captions  lists of words, or the number of occurrences of each word

        The most frequent word comes first, ties in alphabetical order; at most `max_size` words.
        Raises ValueError where no word is left: such a captioner could not say anything.
        """
        if vocab_threshold < 1:
            raise ValueError(f"vocab_threshold must be 1 or more, not {vocab_threshold}.")
        if max_size is not None and max_size < 1:
            raise ValueError(f"The largest size of a vocabulary must be 1 or more, not {max_size}.")
        if isinstance(captions, Counter):
            counts = captions
        else:
            counts = Counter(word for caption in captions for word in caption)
        special = [start_word, end_word, unk_word, pad_word]
        ranked = sorted(counts.keys() - set(special), key=lambda word: (-counts[word], word))
        frequent = [word for word in ranked if counts[word] >= vocab_threshold]
        if not ranked:
            raise ValueError("The captions have no words: there is nothing to learn from them.")
        if not frequent:
            raise ValueError(
                f"No word occurs {vocab_threshold} times in the captions; the most frequent, "
                f"{ranked[0]!r}, occurs {plural(counts[ranked[0]], 'time')}: lower "
                "--vocab-threshold."
            )
        return cls(special + frequent[:max_size], tokenizer)

    @classmethod
    def load(cls, vocab_file: PathLike) -> "Vocabulary":
        """Read a JSON file that `save` wrote; ValueError where it is something else."""
        try:
            words = cls(read_json(vocab_file)["words"]).words
            return cls([nfc(word) for word in words])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{vocab_file} is not a vocabulary ({error}). Build it again."
            ) from None

    def save(self, vocab_file: PathLike) -> None:
        """Write the words as JSON, one a line."""
        with atomic_write(vocab_file, "w") as file:
            json.dump({"words": self.words}, file, ensure_ascii=False, indent=0)

    def __len__(self) -> int:
        return len(self.words)

    def __call__(self, word: str) -> int:
        """Return the id of `word`, or that of `<unk>` where the word is unknown."""
        return self.ids.get(word, self.unk)

    def encode(self, caption: str | list[str]) -> list[int]:
        """Return the ids of a caption (text, or its words): `<start>` first, `<end>` last."""
        words = self.tokenizer(caption) if isinstance(caption, str) else caption
        return [self.start, *(self.ids.get(word, self.unk) for word in words), self.end]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids` up to the first `<end>`, without `<start>` and `<pad>`."""
        words = []
        for number in ids:
            if number == self.end:
                break
            if number not in (self.start, self.pad):
                words.append(self.words[number])
        return join_unspaced(ENCLITIC.sub(r"\1", " ".join(words)))
