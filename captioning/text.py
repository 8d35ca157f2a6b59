"""Read a text file, whoever wrote it and however it is encoded. No torch in here.

    read_text(path)      the text of a file, or of standard input where the path is "-"
    text_lines(path)     its lines that are not blank, numbered
    read_paths(path)     its lines as names of files that may exist
    decode(data, name)   bytes -> text
    plural(count, noun)  "1 photo", "2,000 photos"

UTF-8, UTF-16 and UTF-32 are recognized, with and without a byte order mark; any other encoding is
guessed, with a note that names the guess. Lines end with a line feed, whatever they ended with.
"""

import codecs
import contextlib
import os
import re
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

PathLike = str | os.PathLike[str]

STDIN = "-"
MARKED = (  # byte order mark -> encoding; UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
UNMARKED = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
FOREIGN_FIELD = re.compile(rb"[^\n\r,;\t]*[\x80-\xff][^\n\r,;\t]*")
SAMPLE = 5000  # fields that a guess is made from
SHORT = 60  # bytes of a sample that is too short to tell rare encodings from common ones
FEW, VERY_FEW = 1 / 8, 1 / 25  # accents for each letter: a few words such as `café`
WESTERN = re.compile(  # letters and marks of Western languages, never three such letters in a row
    "(?:[\0-\x7f\u00a0-\u00b0\u00b4\u00b7\u00bb-\u00bf\u0152\u0153\u2013-\u2026\u20ac]"
    "|[\u00c0-\u00ff](?![\u00c0-\u00ff]{2}))*"
)
IMPLAUSIBLE = re.compile(  # control characters, or letters of two alphabets in one word
    "[\x80-\x9f]|[A-Za-z][\u0370-\u06ff\u0e00-\u0e7f]|[\u0370-\u06ff\u0e00-\u0e7f][A-Za-z]"
)


def read_text(path: PathLike) -> str:
    """Return the text of the file `path`; of standard input where it is "-".

    Raises FileNotFoundError where there is no such file, ValueError where it is not text.
    """
    return decode(_read_bytes(path), file_name(path))


def text_lines(path: PathLike) -> Iterator[tuple[int, str]]:
    """Yield (number, line) for the lines that are not blank, without the blanks around them.

    Raises as `read_text` does.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield number, line.strip()


def read_paths(path: PathLike) -> list[str]:
    """Return the lines as names of files; a name that is not text on this system is kept as it is.

    Raises as `read_text` does.
    """
    data = _read_bytes(path)
    lines = decode(data, None).split("\n")
    raw = [os.fsdecode(line) for line in re.split(b"\r\n|\r|\n", data)]
    if len(raw) == len(lines):  # the name of a file need not be in the encoding of the system
        both = zip(lines, raw, strict=True)
        lines = [raw if os.path.exists(raw) else line for line, raw in both]
    return [line for line in lines if line.strip()]


def decode(data: bytes, name: str | None) -> str:
    """Return the bytes of a file as text with line feeds.

    name  of the file, for the error and the note about a guessed encoding; None: no note

    Raises ValueError where they are not text.
    """
    text, encoding = _decode(data, name or "The list")
    if "\0" in text:
        raise ValueError(f"{name or 'The list'} is not text: it has bytes of value 0.")
    if encoding and name:
        word = next(word for word in text.split() if not word.isascii())
        print(f"note: {name} is not UTF-8; read as {encoding}: {word!r:.40}", file=sys.stderr)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decode(data: bytes, name: str) -> tuple[str, str]:
    """Return the text, and the name of the encoding where it was guessed."""
    encoding = next((encoding for mark, encoding in MARKED if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data:
        encoding = _wide_encoding(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        lossy = data.decode(encoding, "replace")
        bad = lossy.count("\ufffd")
        good = sum(not character.isascii() for character in lossy) - bad
        if encoding != "utf-8" or good > bad:  # a few bytes are wrong, not the encoding
            number = lossy[: lossy.index("\ufffd")].count("\n") + 1
            raise ValueError(
                f"{name}, line {number}, is not {error.encoding[:6].upper()} text as the rest of "
                "the file is. Save it again as UTF-8."
            ) from None
        return _guess(data)
    return text.removeprefix("\ufeff"), ""


def _wide_encoding(data: bytes) -> str:
    """Return which of UNMARKED the bytes have, by their ASCII characters; else UTF-8."""
    found = {"utf-8": 0}
    for encoding in UNMARKED:
        with contextlib.suppress(UnicodeDecodeError):
            text = data.decode(encoding)
            ascii_characters = len(re.findall(r"[\t\n\r -~]", text))
            if "\0" not in text and ascii_characters > len(text) / 8:
                found[encoding] = ascii_characters
    return max(found, key=lambda encoding: found[encoding])


def _guess(data: bytes) -> tuple[str, str]:
    """Return the text of `data` in the most plausible code page, and its name."""
    from chardet import EncodingEra, detect_all

    # Only what is not ASCII: names of files and English captions would hide the language.
    fields = (match[0] for match in islice(FOREIGN_FIELD.finditer(data), SAMPLE))
    sample = b"\n".join(dict.fromkeys(fields))
    western = data.decode("cp1252", "replace")
    few = _foreign_share(sample) < FEW or _foreign_share(data) < VERY_FEW
    if few and WESTERN.fullmatch(western):
        return western, "Windows-1252"
    era = EncodingEra.MODERN_WEB if len(sample) < SHORT else EncodingEra.ALL
    for guess in detect_all(sample, ignore_threshold=True, encoding_era=era):
        encoding = guess["encoding"] or ""
        try:
            text = data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
        if not IMPLAUSIBLE.search(text):
            return text, encoding
    return western, "Windows-1252"


def _foreign_share(data: bytes) -> float:
    """Return the accented letters, as Windows-1252 has them, for each letter of ASCII."""
    return len(re.findall(b"[\xc0-\xff]", data)) / max(len(re.findall(b"[a-zA-Z]", data)), 1)


def _read_bytes(path: PathLike) -> bytes:
    if str(path) == STDIN:
        stream = getattr(sys.stdin, "buffer", None)
        return stream.read() if stream else sys.stdin.read().encode("utf-8", "surrogateescape")
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing. Check the path.") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder, not a file.") from None


def file_name(path: PathLike) -> str:
    """Return how errors name the file that is read."""
    return "standard input" if str(path) == STDIN else str(path)


def plural(count: int, one: str, several: str = "") -> str:
    """Return a count with its noun: "1 photo", "2,000 photos".

    several  the noun for other counts than 1, where an s is not enough: "captions are" for
             "caption is"
    """
    return f"{count:,} {one if count == 1 else several or one + 's'}"
