"""Captions made up from a few words, for tests of scores."""

import random


def random_references(count: int, seed: int = 0) -> dict[int, list[str]]:
    """Return {image: five captions} of `count` images."""
    rng = random.Random(seed)
    found = {}
    for image in range(1, count + 1):
        thing, place = rng.choice(["dog", "cat", "man", "girl"]), rng.choice(["beach", "park"])
        found[image] = [
            f"A {thing} {verb} on the {place}, near a {rng.choice(['horse', 'bird', 'tree'])}."
            for verb in rng.choices(["runs", "sits", "jumps", "waits", "plays"], k=5)
        ]
    return found
