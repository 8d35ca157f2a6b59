"""Answers to the exercises of notebook 0: WRONG are refused in a sentence, RIGHT are accepted."""

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
        """
def shortest(coco):
    return max((a["caption"] for a in coco.anns.values()), key=lambda c: len(tokenize(c)))
""",
        """
def shortest(coco):
    return next(iter(coco.anns.values()))["caption"]
""",
        """
def shortest(coco):
    return min((tokenize(a["caption"]) for a in coco.anns.values()), key=len)
""",
        """
def shortest(coco):
    return " ".join(min((tokenize(a["caption"]) for a in coco.anns.values()), key=len))
""",
        """
def shortest(coco):
    return min(len(tokenize(a["caption"])) for a in coco.anns.values())
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
        """
def fraction_naming(captions, names):
    return sum(bool(set(tokenize(caption)) & set(names)) for caption in captions)
""",
        """
def fraction_naming(captions, names):
    return [bool(set(tokenize(caption)) & set(names)) for caption in captions]
""",
        """
def fraction_naming(captions, names):
    return np.mean([set(names) <= set(tokenize(caption)) for caption in captions])
""",
        """
def fraction_naming(captions, names):
    return np.mean(["red" in tokenize(caption) for caption in captions])
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
        """
def words_needed(counts, fraction):
    uses = np.array([count for _, count in counts.most_common()])
    return int(np.argmax(uses.cumsum() > fraction * uses.sum())) + 1
""",
        """
def words_needed(counts, fraction):
    needed, added = [], 0
    for word, count in counts.most_common():
        if added < fraction * counts.total():
            needed, added = needed + [word], added + count
    return needed
""",
        """
def words_needed(counts, fraction):
    return sum(count >= fraction * counts.total() for count in counts.values())
""",
        """
def words_needed(counts, fraction):
    uses = np.array([count for _, count in counts.most_common()]) / 100
    return int(np.searchsorted(uses.cumsum(), fraction - 1e-9)) + 1
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
        """
def squash_box(box, width, height, side):
    return [box[0] / 4, box[1] / 2, box[2] / 4, box[3] / 2]
""",
        """
def squash_box(box, width, height, side):
    across, down = side / height, side / width
    return [box[0] * across, box[1] * down, box[2] * across, box[3] * down]
""",
        """
def squash_box(box, width, height, side):
    across, down = width / side, height / side
    return [box[0] * across, box[1] * down, box[2] * across, box[3] * down]
""",
        """
def squash_box(box, width, height, side):
    return [box[0] * side / width, box[1] * side / height]
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
        """
def split(image_ids, fraction):
    photos = sorted(set(image_ids))
    return np.isin(image_ids, photos[: round(fraction * len(photos))])
""",
        """
def split(image_ids, fraction):
    photos = sorted(set(image_ids))
    return np.isin(image_ids, photos[:: round(1 / fraction)])
""",
        """
def split(image_ids, fraction):
    photos = sorted(set(image_ids))
    return np.isin(image_ids, np.random.default_rng(0).permutation(photos)[: len(photos) // 5])
""",
        """
def split(image_ids, fraction):
    photos = sorted(set(image_ids))
    return list(np.random.default_rng(0).permutation(photos)[: round(fraction * len(photos))])
""",
        """
def split(image_ids, fraction):
    photos = len(image_ids) // 5
    return (np.random.default_rng(0).random(photos) < fraction).repeat(5)
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
        """
def to_coco(rows):
    names = sorted({name for name, _ in rows})
    return {
        "images": [{"id": i, "name": name} for i, name in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": names.index(name), "caption": caption}
            for i, (name, caption) in enumerate(rows)
        ],
    }
""",
        """
def to_coco(rows):
    return {"images": [{"id": i, "file_name": name} for i, (name, _) in enumerate(rows)]}
""",
        """
def to_coco(rows):
    names = sorted({name for name, _ in rows})
    return {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [{"image_id": names.index(n), "caption": text} for n, text in rows],
    }
""",
        """
def to_coco(rows):
    names = sorted({name for name, _ in rows})
    return {
        "images": [{"id": 0, "file_name": name} for name in names],
        "annotations": [
            {"id": i, "image_id": 0, "caption": caption} for i, (_, caption) in enumerate(rows)
        ],
    }
""",
        """
def to_coco(rows):
    texts = dict(rows)
    names = sorted(texts)
    return {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": i, "caption": texts[name]} for i, name in enumerate(names)
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
        """
def same_photo(one, other):
    return abs(one.width / one.height - other.width / other.height) < 0.02
""",
        """
def same_photo(one, other):
    one, other = thumbnail(one), thumbnail(other)
    return np.abs((one - one.mean()) - (other - other.mean())).mean() < 60
""",
        """
def same_photo(one, other):
    return one.size == other.size
""",
    ],
    "8": [
        """
def guess_photo(caption, candidates):
    return min(range(len(candidates)), key=lambda row: abs(len(candidates[row]) - len(caption)))
""",
        """
def guess_photo(caption, candidates):
    return int(np.argmax([overlap(caption, other) for other in candidates]))
""",
        """
def guess_photo(caption, candidates):
    return max(candidates, key=lambda other: overlap(caption, other))
""",
        """
def guess_photo(caption, candidates):
    return 0
""",
        """
guesses = iter(range(10_000))


def guess_photo(caption, candidates):
    return next(guesses) % len(candidates)
""",
    ],
    "9": [
        """
def length_limit(lengths, fraction):
    return int(np.argmax(np.cumsum(lengths) >= fraction * sum(lengths))) + 1
""",
        """
def length_limit(lengths, fraction):
    return int(np.argmax(np.cumsum(lengths) > fraction * sum(lengths)))
""",
        """
def length_limit(lengths, fraction):
    return int(np.ceil(fraction * (len(lengths) - 1)))
""",
        """
def length_limit(lengths, fraction):
    return int(np.quantile(lengths, fraction))
""",
        """
def length_limit(lengths, fraction):
    return int(np.cumsum(lengths)[round(fraction * (len(lengths) - 1))])
""",
        """
def length_limit(lengths, fraction):
    kept = [count for count in lengths if count]
    return int(np.argmax(np.cumsum(kept) >= fraction * sum(kept))) + 1
""",
        """
def length_limit(lengths, fraction):
    return np.cumsum(lengths) >= fraction * sum(lengths)
""",
    ],
    "10": [
        """
def is_gray(picture):
    return picture.mode == "L"
""",
        """
def is_gray(picture):
    pixels = np.asarray(picture.convert("RGB"))
    return bool((pixels[..., 0] == pixels[..., 1]).all())
""",
        """
def is_gray(picture):
    pixels = np.asarray(picture.convert("RGB"))
    return bool((pixels[..., 0] == pixels[..., 1]).any())
""",
        """
def is_gray(picture):
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    return pixels.max(axis=-1) - pixels.min(axis=-1) < 8
""",
        """
def is_gray(picture):
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    return bool((pixels.max(axis=-1) - pixels.min(axis=-1)).mean() < 55)
""",
        """
def is_gray(picture):
    return True
""",
    ],
}

RIGHT = {
    "1": [
        """
def shortest(coco):
    return sorted((a["caption"] for a in coco.anns.values()), key=lambda c: len(tokenize(c)))[0]
""",
        """
def shortest(coco):
    return min(coco.anns.values(), key=lambda a: len(tokenize(a["caption"])))["caption"]
""",
        """
def shortest(coco):
    best = None
    for annotation in coco.loadAnns(coco.getAnnIds()):
        caption = annotation["caption"]
        if best is None or len(tokenize(caption)) < len(tokenize(best)):
            best = caption
    return best
""",
    ],
    "2": [
        """
def fraction_naming(captions, names):
    return sum(any(word in names for word in tokenize(c)) for c in captions) / len(captions)
""",
        """
def fraction_naming(captions, names):
    naming = 0
    for caption in captions:
        if not set(names).isdisjoint(tokenize(caption)):
            naming += 1
    return naming / len(captions)
""",
        """
def fraction_naming(captions, names):
    pattern = re.compile(rf"\\b({'|'.join(names)})\\b", re.IGNORECASE)
    return np.float32(np.mean([pattern.search(caption) is not None for caption in captions]))
""",
    ],
    "3": [
        """
def words_needed(counts, fraction):
    added = 0
    for number, (_, count) in enumerate(counts.most_common(), 1):
        added += count
        if added >= fraction * counts.total():
            return number
""",
        """
def words_needed(counts, fraction):
    uses = np.cumsum(sorted(counts.values(), reverse=True))
    return np.searchsorted(uses, fraction * uses[-1]) + 1
""",
        """
def words_needed(counts, fraction):
    uses = np.cumsum(sorted(counts.values())[::-1])
    return int((uses < fraction * uses[-1]).sum()) + 1
""",
    ],
    "4": [
        """
def squash_box(box, width, height, side):
    return np.array(box) * side / np.array([width, height, width, height])
""",
        """
def squash_box(box, width, height, side):
    x, y, w, h = box
    return x / width * side, y / height * side, w / width * side, h / height * side
""",
        """
def squash_box(box, width, height, side):
    scale = torch.tensor([side / width, side / height]).repeat(2)
    return torch.tensor(box) * scale
""",
    ],
    "5": [
        """
def split(image_ids, fraction):
    photos = np.unique(image_ids)
    number = round(fraction * len(photos))
    drawn = set(np.random.default_rng(1).choice(photos, number, replace=False).tolist())
    return [image in drawn for image in image_ids]
""",
        """
import random


def split(image_ids, fraction):
    photos = list(set(image_ids))
    random.Random(3).shuffle(photos)
    drawn = set(photos[: int(fraction * len(photos) + 0.5)])
    return tuple(image in drawn for image in image_ids)
""",
        """
import hashlib


def split(image_ids, fraction):
    def lot(image):
        return int(hashlib.md5(str(image).encode()).hexdigest(), 16) % 1000 / 1000

    return np.array([lot(image) < fraction for image in image_ids])
""",
    ],
    "6": [
        """
def to_coco(rows):
    content = {"info": {}, "images": [], "annotations": []}
    known = {}
    for name, caption in rows:
        if name not in known:
            known[name] = 100 + len(known)
            content["images"].append({"id": known[name], "file_name": name})
        number = len(content["annotations"])
        content["annotations"].append(
            {"id": number, "image_id": known[name], "caption": caption}
        )
    return content
""",
        """
def to_coco(rows):
    names = sorted({name for name, _ in rows})
    return {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": names.index(name), "caption": caption}
            for i, (name, caption) in enumerate(rows)
        ],
    }
""",
        """
def to_coco(rows):
    names = list(dict.fromkeys(name for name, _ in rows))
    images = [dict(id=7 * i, file_name=name, license=1) for i, name in enumerate(names, 1)]
    annotations = []
    for name, caption in reversed(rows):
        number = 7 * (names.index(name) + 1)
        annotations.append(dict(id=len(annotations) + 1, image_id=number, caption=caption))
    return dict(images=images, annotations=annotations)
""",
    ],
    "7": [
        """
def same_photo(one, other):
    return np.corrcoef(thumbnail(one), thumbnail(other))[0, 1] > 0.98
""",
        """
def same_photo(one, other):
    one, other = (np.asarray(p.convert("L").resize((32, 32)), dtype=float) for p in (one, other))
    return np.abs(one - other - np.median(one - other)).mean() < 4
""",
        """
def same_photo(one, other):
    marks = [thumbnail(picture) for picture in (one, other)]
    bits = [mark > np.median(mark) for mark in marks]
    return int((bits[0] != bits[1]).sum()) < 14
""",
    ],
    "8": [
        """
def guess_photo(caption, candidates):
    def clues(text):
        words = tokenize(text)
        rare = {word for word in words if counts[word] < 3000}
        return rare, {pair for pair in pairwise(words) if pair[0] in colors}

    rare, colored = clues(caption)
    scores = []
    for other in candidates:
        its_rare, its_colored = clues(other)
        both = len(rare & its_rare) / max(1, len(rare | its_rare))
        scores.append(both + len(colored & its_colored) / max(1, len(colored | its_colored)))
    return np.argmax(scores)
""",
        """
def guess_photo(caption, candidates):
    def weight(words):
        return sum(np.log(total / counts.get(word, 1)) for word in words)

    def pairs(text):
        return {pair for pair in pairwise(tokenize(text)) if pair[0] in colors}

    def similarity(other):
        mine, its = set(tokenize(caption)), set(tokenize(other))
        shared = len(pairs(caption) & pairs(other))
        return weight(mine & its) / weight(mine | its) + 0.5 * shared

    return max(range(len(candidates)), key=lambda row: similarity(candidates[row]))
""",
        """
def guess_photo(caption, candidates):
    def pairs(text):
        return {" ".join(pair) for pair in pairwise(tokenize(text)) if pair[0] in colors}

    scores = [len(pairs(caption) & pairs(other)) + overlap(caption, other) for other in candidates]
    return scores.index(max(scores))
""",
    ],
    "9": [
        """
def length_limit(lengths, fraction):
    whole = 0
    for words, count in enumerate(lengths):
        whole += count
        if whole >= fraction * sum(lengths):
            return words
""",
        """
def length_limit(lengths, fraction):
    return np.searchsorted(np.cumsum(lengths), fraction * sum(lengths))
""",
        """
def length_limit(lengths, fraction):
    limits = range(len(lengths))
    return min(n for n in limits if sum(lengths[: n + 1]) >= fraction * sum(lengths))
""",
    ],
    "10": [
        """
def is_gray(picture):
    red, green, blue = np.asarray(picture.convert("RGB")).astype(float).transpose(2, 0, 1)
    return max(np.abs(red - green).mean(), np.abs(green - blue).mean()) < 5
""",
        """
def is_gray(picture):
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)
    return pixels.std(axis=-1).mean() < 4
""",
        """
def is_gray(picture):
    chroma = [np.asarray(part, dtype=float) for part in picture.convert("YCbCr").split()[1:]]
    return all(np.abs(part - 128).mean() < 3 for part in chroma)
""",
    ],
}
