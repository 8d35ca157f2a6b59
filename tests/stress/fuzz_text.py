"""Texts by the thousand: tables, lists and JSON are read as they were meant, or refused.

    python -m tests.stress.fuzz_text --inputs 5000
    python -m tests.stress.fuzz_text --only 123     one file, which stays in this folder

Each file has one of seven encodings and one of three line ends. Most are whole, with captions in
four languages, quotes, delimiters, blank lines, and ids as numbers, text or floats: they must be
read as they were meant. The others have a mistake (an open quote, a name that leads out of its
folder, a caption without a photo ...) or changed bytes: they are refused in one sentence that names
the file, and for a mistake in a table its line. Exit status 1 where an exception escapes, a mistake
is accepted or a text is read otherwise; a code page may be guessed wrongly in one file of fifty.
"""

import argparse
import contextlib
import io
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from captioning.data.annotations import contradictions, read_annotations
from captioning.data.results import read_results
from captioning.data.sources import token_captions
from captioning.data.table import read_table

LANGUAGES = {
    "en": "A dog runs on the grass|A cat, asleep|A café – naïve art|It’s 5° cold here",
    "de": "Ein großer Hund läuft|Zwei Mädchen spielen Fußball|Ein Mann mit Mütze steht",
    "ru": "Коричневая собака бежит|Мужчина едет на велосипеде|Две девочки играют с мячом",
    "zh": "一只棕色的狗在草地上奔跑|一个男人骑着自行车经过街道|两个孩子在海边玩沙子",
}
ENCODINGS = {  # what they can write
    "utf-8": "en de ru zh", "utf-8-sig": "en de ru zh", "utf-16": "en de ru zh",
    "utf-16-be": "en de ru zh", "cp1252": "en de", "cp1251": "ru", "gb18030": "zh",
}  # fmt: skip
GUESSED = ("cp1252", "cp1251", "gb18030")
LINE_ENDS = ("\n", "\r\n", "\r")
Captions = dict[Any, list[str]]
Case = tuple[str, Captions | None, str]  # text, what it means (None: to be refused), "line 7"
Maker = Callable[[random.Random, list[str]], Case]


# --- what is written -------------------------------------------------------------------------


def quoted(caption: str, rng: random.Random) -> str:
    """Return the caption as a field of CSV."""
    if rng.random() < 0.3 or set(caption) & set(',;\t|"\n'):
        return '"' + caption.replace('"', '""') + '"'
    return caption


def good_table(rng: random.Random, captions: list[str]) -> Case:
    delimiter, columns = rng.choice(",;\t|"), ["image", "caption", "more"]
    rng.shuffle(columns)
    lines, meant = [delimiter.join(columns)], {}
    for number in range(rng.randint(3, 25)):
        name, caption = f"photo_{number % 9}.jpg", rng.choice(captions)
        if rng.random() < 0.2:
            caption = rng.choice([f'A "{caption}"', f"{caption}, {caption}", f"{caption}\nagain"])
        row = {"image": name, "caption": quoted(caption, rng), "more": "x"}
        lines.append(delimiter.join(row[column] for column in columns))
        lines += [""] * (rng.random() < 0.1)
        meant.setdefault(name, []).append(caption)
    return "\n".join(lines) + "\n" * rng.randint(0, 2), meant, ""


MISTAKES = {  # of a row
    "open quote": lambda name, caption: f'{name},"{caption}',
    "too many columns": lambda name, caption: f"{name},{caption},{caption}",
    "after a quote": lambda name, caption: f'{name},"{caption}" {caption}',
    "out of the folder": lambda name, caption: f"../{name},{caption}",
    "absolute": lambda name, caption: f"/etc/{name},{caption}",
    "control character": lambda name, caption: f"\x07{name},{caption}",
}


def bad_table(rng: random.Random, captions: list[str]) -> Case:
    rows = [f"photo_{n}.jpg,{quoted(rng.choice(captions), rng)}" for n in range(rng.randint(5, 20))]
    at = rng.randrange(len(rows))
    mistake = rng.choice(list(MISTAKES.values()))
    rows[at] = mistake("p.jpg", rng.choice(captions).replace(",", " "))
    return "\n".join(["image,caption", *rows]), None, f"line {at + 2}"


def token_list(rng: random.Random, captions: list[str]) -> Case:
    meant: Captions = {}
    lines = []
    for number in range(rng.randint(3, 25)):
        name, caption = f"photo_{number // 5}.jpg", rng.choice(captions)
        lines.append(f"{name}#{number % 5}\t{caption}")
        meant.setdefault(name, []).append(caption)
    return "\n".join(lines), meant, ""


def bad_list(rng: random.Random, captions: list[str]) -> Case:
    lines = token_list(rng, captions)[0].split("\n")
    at = rng.randrange(1, len(lines))
    lines[at] = rng.choice(captions)
    return "\n".join(lines), None, f"line {at + 1}"


def an_id(number: int, rng: random.Random) -> int | float | str:
    return rng.choice([number, number, str(number), float(number)])


def annotations(rng: random.Random, captions: list[str]) -> Case:
    count, meant = rng.randint(2, 9), {}
    images = [{"id": an_id(n, rng), "file_name": f"{captions[0]}_{n}.jpg"} for n in range(count)]
    entries = []
    for n in range(count):
        meant[n] = [rng.choice(captions)]
        entries.append({"image_id": an_id(n, rng), "caption": meant[n][0]})
    content = {"images": images, "annotations": entries}
    return json.dumps(content, ensure_ascii=rng.random() < 0.2, indent=1), meant, ""


def bad_annotations(rng: random.Random, captions: list[str]) -> Case:
    content = json.loads(annotations(rng, captions)[0])
    entry = rng.choice(content["annotations"])
    entry["image_id"] = rng.choice([99, 1.5, None, True, [0], "99"])
    if rng.random() < 0.3:
        content["images"].append(content["images"][0])
    return json.dumps(content, ensure_ascii=False), None, ""


def results(rng: random.Random, captions: list[str]) -> Case:
    entries, meant = [], {}
    for n in range(5):
        caption = rng.choice(captions)
        name = rng.choice([an_id(n, rng), f"p{n}", f"p{n}.jpg", f"images/val/p{n}.jpg"])
        entries.append(
            {"image_id": name, "caption": rng.choice([caption, f"<start> {caption} <end>"])}
        )
        meant[n] = [caption]
    return json.dumps(entries, ensure_ascii=rng.random() < 0.2), meant, ""


# --- how it is read --------------------------------------------------------------------------


def as_table(path: Path) -> Captions:
    return {name: row.captions for name, row in read_table(path, path.parent).items()}


def as_annotations(path: Path) -> Captions:
    found = read_annotations(path)
    for _, sentence in contradictions(found):
        raise ValueError(sentence)
    return found.captions_by_image()


def as_results(path: Path) -> Captions:
    names = {n: f"p{n}.jpg" for n in range(5)}
    return {image: [text] for image, text in read_results(path, names, names).items()}


KINDS: dict[str, tuple[Maker, Callable[[Path], Captions], int]] = {  # maker, reader, share of ten
    "tables": (good_table, as_table, 3),
    "tables with a mistake": (bad_table, as_table, 1),
    "lists": (token_list, token_captions, 1),
    "lists with a mistake": (bad_list, token_captions, 1),
    "annotations": (annotations, as_annotations, 1),
    "annotations with a mistake": (bad_annotations, as_annotations, 1),
    "results": (results, as_results, 1),
    "bytes changed": (good_table, as_table, 1),
}
DEAL = [kind for kind, (_, _, share) in KINDS.items() for _ in range(share)]


def outcome(number: int, seed: int, folder: Path) -> tuple[str, str, str, str]:
    """Return the kind and the encoding of one file, what became of it, and why that is wrong."""
    rng = random.Random(f"{seed}/{number}")
    kind = DEAL[number % len(DEAL)]
    encoding = list(ENCODINGS)[number // len(DEAL) % len(ENCODINGS)]
    make, read, _ = KINDS[kind]
    language = rng.choice(ENCODINGS[encoding].split())
    text, meant, place = make(rng, LANGUAGES[language].split("|"))
    data = text.replace("\n", rng.choice(LINE_ENDS)).encode(encoding)
    if kind == "bytes changed":
        changed = bytearray(data)
        for _ in range(rng.choice((1, 3, 10))):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        data = bytes(changed)
    path = folder / f"captions_{number}"
    path.write_bytes(data)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            found = read(path)
    except (ValueError, FileNotFoundError) as error:
        sentence = str(error)
        if path.name not in sentence or "\n" in sentence or len(sentence) > 400 + len(str(folder)):
            return kind, encoding, "wrong", f"not a sentence: {sentence}"
        if kind != "bytes changed" and (meant is not None or place not in sentence):
            return kind, encoding, "wrong", f"refused: {sentence}"
        return kind, encoding, "refused", ""
    except Exception as error:  # noqa: BLE001
        return kind, encoding, "wrong", f"{type(error).__name__}: {error}"
    if kind == "bytes changed":
        return kind, encoding, "read", ""
    if meant is None:
        return kind, encoding, "wrong", "a mistake was accepted"
    if found != meant:
        guess = "guessed" if encoding in GUESSED and shape(found) == shape(meant) else "wrong"
        return kind, encoding, guess, f"{found} instead of {meant}"
    return kind, encoding, "read", ""


def shape(captions: Captions) -> list[int]:
    return [len(several) for several in captions.values()]


def fuzz(
    first: int, count: int, seed: int, report: Callable[[str], None] = print
) -> tuple[list[str], int]:
    """Try files `first` to `first + count`; report a table; return failures and wrong guesses."""
    rows: dict[str, Counter[str]] = {}
    failures, guessed = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, first + count):
            kind, encoding, result, why = outcome(number, seed, Path(folder))
            Path(folder, f"captions_{number}").unlink()
            for row in (kind, encoding):
                rows.setdefault(row, Counter()).update([result, "files"])
            guessed += result == "guessed"
            if result == "wrong":
                failures.append(f"{number} ({kind}, {encoding}): {why}")
    columns = ("files", "read", "refused", "guessed", "wrong")
    report(f"{'':28}" + "".join(f"{column:>9}" for column in columns))
    for name in (*KINDS, *ENCODINGS):
        if name in rows:
            report(f"{name:28}" + "".join(f"{rows[name][column]:9}" for column in columns))
    return failures, guessed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=5000, help="number of files")
    parser.add_argument("--seed", type=int, default=0, help="seed of the files")
    parser.add_argument("--only", type=int, help="write and try this file only")
    args = parser.parse_args()
    if args.only is not None:
        print(*outcome(args.only, args.seed, Path.cwd()), sep="\n")
        return 0
    failures, guessed = fuzz(0, args.inputs, args.seed)
    print(*failures[:20], sep="\n")
    return int(bool(failures) or guessed > args.inputs / 50)


if __name__ == "__main__":
    sys.exit(main())
