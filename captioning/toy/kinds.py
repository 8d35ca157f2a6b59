"""The twenty kinds of things in the drawn scenes: sizes, fitting colors, words, painters.

KINDS[name]       a Kind
HELD_OUT          pairs of kind and color that occur in test pictures only
words_of(name)    every word, singular and plural, that names a kind
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from captioning.toy import animals, objects
from captioning.toy.canvas import Canvas, Color

HELD_OUT = {
    ("car", "green"), ("bus", "blue"), ("umbrella", "yellow"), ("boat", "red"), ("kite", "pink"),
    ("couch", "blue"), ("chair", "yellow"), ("balloon", "orange"),
}  # fmt: skip
IRREGULAR = {
    "man": "men", "woman": "women", "person": "people", "sheep": "sheep", "lady": "ladies",
    "puppy": "puppies", "kitty": "kitties", "pony": "ponies",
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """One kind of thing; `height` and `width` are in units of a picture's geometric mean side."""

    category: str  # COCO's name where COCO has one
    supercategory: str
    height: float
    width: float
    colors: tuple[str, ...]
    words: tuple[str, ...]  # the first one is the plainest
    paint: Callable[[Canvas, Color, random.Random, str], None]


def _kind(name: str, where: str, height: float, width: float, colors: str, words: str) -> Kind:
    painter = name.replace(" ", "_")
    paint = getattr(animals, painter, None) or getattr(objects, painter)
    category, _, supercategory = where.rpartition("/")
    said = tuple(words.split(", "))
    return Kind(category or name, supercategory, height, width, tuple(colors.split()), said, paint)


_TABLE = [
    # name, (COCO's name/) supercategory, height, width, colors, words
    ("man", "person/person", 0.42, 0.2, "red orange yellow green blue white black", "man, guy"),
    ("woman", "person/person", 0.4, 0.21, "red orange yellow blue pink white green", "woman, lady"),
    ("dog", "animal", 0.21, 0.36, "brown black white", "dog, puppy"),
    ("cat", "animal", 0.21, 0.19, "black white orange brown", "cat, kitty"),
    ("horse", "animal", 0.38, 0.5, "brown black white", "horse, pony"),
    ("sheep", "animal", 0.24, 0.34, "white black brown", "sheep"),
    ("bird", "animal", 0.15, 0.23, "red blue yellow white black", "bird"),
    ("car", "vehicle", 0.24, 0.52, "red orange yellow blue white black pink green", "car"),
    ("bus", "vehicle", 0.4, 0.78, "red orange yellow green white blue", "bus, coach"),
    ("bicycle", "vehicle", 0.27, 0.44, "red yellow green blue pink", "bicycle, bike"),
    ("boat", "vehicle", 0.34, 0.46, "yellow green blue white orange brown red", "boat, sailboat"),
    ("umbrella", "accessory", 0.3, 0.37, "red orange green blue pink black yellow", "umbrella"),
    ("kite", "sports", 0.2, 0.14, "red orange yellow green blue pink", "kite"),
    ("ball", "sports ball/sports", 0.13, 0.13, "red orange yellow green blue pink white", "ball"),
    ("bench", "outdoor", 0.22, 0.42, "brown green red white blue", "bench"),
    ("chair", "furniture", 0.26, 0.2, "brown red yellow green blue white pink", "chair"),
    ("couch", "furniture", 0.28, 0.62, "red green brown orange pink blue", "couch, sofa"),
    ("teddy bear", "indoor", 0.2, 0.16, "brown white pink yellow", "teddy bear, stuffed bear"),
    ("potted plant", "furniture", 0.27, 0.2, "red orange yellow blue white", "potted plant, plant"),
    ("balloon", "toy", 0.24, 0.14, "red orange yellow green blue pink", "balloon"),
]
KINDS = {row[0]: _kind(*row) for row in _TABLE}


def plural(word: str) -> str:
    """Return the plural: `teddy bear` -> `teddy bears`."""
    return IRREGULAR.get(word) or word + ("es" if word.endswith(("s", "ch")) else "s")


def words_of(name: str) -> list[str]:
    """Return every word for a kind: ["man", "guy", "person", "men", "guys", "people"]."""
    kind = KINDS[name]
    words = [*kind.words, *(["person"] if kind.category == "person" else [])]
    return [*words, *(plural(word) for word in words if plural(word) != word)]
