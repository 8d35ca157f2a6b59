"""Read a table of captions: a CSV file with a line for each caption. No torch in here.

    read_table(path, folder)   photo -> Row: its captions, its split, the line that names it first

The first line names the columns: image, caption and, optionally, split; others are ignored. Commas,
semicolons, tabs or bars separate them. A mistake is refused with the number of its line.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from captioning.data.annotations import SPLITS
from captioning.data.names import relative_name
from captioning.text import file_name, read_text

IMAGE, CAPTION = ("image", "image_name", "file_name", "filename"), ("caption", "comment")
SUFFIX = r'\.(?:jpe?g|jfif|png|webp|bmp|gif|tiff?|avif)"?\s*'
OTHER_ROW = re.compile(rf"{SUFFIX}[,;\t|]|[,;\t|][^\n,;\t|]*{SUFFIX}(?:\n|$)", re.IGNORECASE)
QUOTES = 'Put a caption with a comma in quotes, and write a quote inside it twice ("").'


@dataclass
class Row:
    origin: str  # "captions.csv, line 7"
    captions: list[str] = field(default_factory=list)
    split: str = ""  # train, val, test, or "" where the table gives none


class Columns(NamedTuple):
    image: int
    caption: int
    split: int  # the one after the last, where the table has none
    width: int


def read_table(path: Path, folder: Path) -> dict[str, Row]:
    """Return the photos of a table; their names are relative to `folder`.

    Raises FileNotFoundError, or ValueError that names the line.
    """
    rows: dict[str, Row] = {}
    names: dict[str, str] = {}  # as written -> as used
    for where, image, caption, given in _records(path):
        if image not in names:
            try:
                names[image] = relative_name(image, folder)
            except ValueError as error:
                raise ValueError(f"{where}, names a photo {error}.") from None
        row = rows.setdefault(names[image], Row(where))
        row.captions.append(caption)
        split = SPLITS.get(given.lower(), "")
        if given and not split:
            raise ValueError(f"{where}, puts {image} into {given!r:.40}, not train, val or test.")
        if split and row.split not in ("", split):
            raise ValueError(f"{where}, puts {image} into two splits; a photo has one.")
        row.split = split or row.split
    return rows


def _records(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield where a record begins, its image, caption and split; blank lines are left out."""
    text, name = read_text(path), file_name(path)
    columns = None
    for line, last, row in _rows(text, name):
        if not any(map(str.strip, row)) or (not columns and row[0].lower().startswith("sep=")):
            continue
        if not columns:
            columns = _columns(name, row)
            continue
        if len(row) > columns.width:
            raise ValueError(f"{name}, line {line}, has too many columns. {QUOTES}")
        if any("\n" in value and OTHER_ROW.search(value) for value in row):
            closed = f"that is closed in line {last}, after other rows"
            raise ValueError(f"{name}, line {line}, opens a quote {closed}. {QUOTES}")
        row += [""] * (columns.width + 1 - len(row))
        image, caption, split = (row[column].strip() for column in columns[:3])
        yield f"{name}, line {line}", image, caption, split
    if not columns:
        raise ValueError(f"{name} must begin with a line of names: image,caption,split")


def _rows(text: str, name: str) -> Iterator[tuple[int, int, list[str]]]:
    """Yield the rows of CSV, each with its first and its last line."""
    heading = next((line for line in text.split("\n") if line.strip()), "")
    rows = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=max(",;\t|", key=heading.count),
        skipinitialspace=True,
        strict=True,
    )
    first = 1
    try:
        for row in rows:
            yield first, rows.line_num, row
            first = rows.line_num + 1
    except csv.Error as error:
        cause = f"is not CSV ({error})"
        if "unexpected end" in str(error) or "field larger" in str(error):
            cause = "opens a quote that is never closed"
        raise ValueError(f"{name}, line {first}, {cause}. {QUOTES}") from None


def _columns(name: str, row: list[str]) -> Columns:
    """Return the places of the columns that the first row names."""
    names = [column.strip().lower() for column in row]
    if twice := [column for column in names if column and names.count(column) > 1]:
        raise ValueError(f"{name} names two columns {twice[0]!r:.40}; rename one of them.")
    found = []
    for choices in (IMAGE, CAPTION, ("split",)):
        chosen = next((choice for choice in choices if choice in names), None)
        found.append(names.index(chosen) if chosen else len(names))
    if len(names) in found[:2]:
        raise ValueError(f"{name} must begin with a line of names: image,caption,split")
    return Columns(found[0], found[1], found[2], len(names))
