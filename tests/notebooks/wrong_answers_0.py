"""Common wrong answers to the exercises of notebook 0; its checks refuse each in a sentence."""

WRONG = {
    "1": [
        """
def shortest(coco):
    return min((a["caption"] for a in coco.anns.values()), key=len)
""",
        """
def shortest(coco):
    return min(coco.anns.values(), key=lambda a: len(a["caption"].split()))
""",
    ],
    "2": [
        """
def fraction_naming(captions, names):
    return np.mean([any(name in caption.lower() for name in names) for caption in captions])
""",
        """
def fraction_naming(captions, names):
    return np.mean([any(name in caption.split() for name in names) for caption in captions])
""",
        """
def fraction_naming(captions, names):
    return sum(word in names for c in captions for word in tokenize(c)) / len(captions)
""",
    ],
    "3": [
        """
def words_needed(counts, fraction):
    return int(np.ceil(fraction * len(counts)))
""",
        """
def words_needed(counts, fraction):
    uses = np.array(list(counts.values()))
    return int(np.argmax(uses.cumsum() >= fraction * uses.sum())) + 1
""",
        """
def words_needed(counts, fraction):
    uses = np.array([count for _, count in counts.most_common()])
    return int(np.argmax(uses.cumsum() >= fraction * uses.sum()))
""",
    ],
    "4": [
        """
def squash_box(box, width, height, side):
    return [number * side / max(width, height) for number in box]
""",
        """
def squash_box(box, width, height, side):
    x, y, w, h = box
    across, down = side / width, side / height
    return [x * across, y * down, (x + w) * across, (y + h) * down]
""",
    ],
    "5": [
        """
def split(image_ids, fraction):
    return np.random.default_rng(0).random(len(image_ids)) < fraction
""",
        """
def split(image_ids, fraction):
    return [False] * len(image_ids)
""",
    ],
    "6": [
        """
def to_coco(rows):
    return {
        "images": [{"id": i, "file_name": name} for i, (name, _) in enumerate(rows)],
        "annotations": [
            {"id": i, "image_id": i, "caption": caption} for i, (_, caption) in enumerate(rows)
        ],
    }
""",
        """
def to_coco(rows):
    names = sorted({name for name, _ in rows})
    return {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [
            {"id": names.index(name), "image_id": names.index(name), "caption": caption}
            for name, caption in rows
        ],
    }
""",
    ],
    "7": [
        """
def same_photo(one, other):
    return one.tobytes() == other.tobytes()
""",
        """
def same_photo(one, other):
    return True
""",
        """
def same_photo(one, other):
    return np.abs(thumbnail(one) - thumbnail(other)).mean() < 2
""",
    ],
    "8": """
def guess_photo(caption, candidates):
    return min(range(len(candidates)), key=lambda row: abs(len(candidates[row]) - len(caption)))
""",
}
