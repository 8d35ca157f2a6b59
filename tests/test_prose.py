"""The text of the project is plain English: no phrase of the list below, no placeholder.

Read are code, documents, configuration and the sources of notebook cells, but not their outputs.
In a pattern a space also matches a line break, with or without the sign of a comment.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUFFIXES = {".py", ".md", ".ipynb", ".toml", ".yml", ".yaml", ".cff", ".txt", ".css"}
SKIPPED = {
    "tests/test_prose.py",  # it has to spell the phrases out
    "captioning/models/imagenet_classes.py",  # names of others, a great grey owl among them
}

PHRASES = {
    r"\banew\b": "again",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"(?<!already) in use\b": "at inference, or name what is used",
    r"\b(goes|going) on\b(?! top)": "continue, happen",
    r"\bgo on (with|without|from|to)\b": "continue",
    r"\btold\b": "explained, given, warned",
    r"\bsays? [`'\"]*--\w": "pass the flag, add the flag",
    r"\bunless (you|it) says? (so|otherwise)\b": "unless stated otherwise",
    r"\bnumbers the decoder thinks with\b": "hidden state size",
    r"(?<!there)(?<!There) (is|are|was|were) no "
    r"(?!longer|more|less|better|worse|larger|smaller|different|fewer|one\b|need)": "is not a",
    r"\bThat is no\b": "is not a",
    r"\bso (many|often)\b(?! that)": "give the number",
    r"\bwhat (is|was|were) (there|tried)\b": "name the subject",
    r"\b(the|a) second look\b": "test-time augmentation",
    r"\bprice on captions\b": "brevity penalty",
    r"\bquieter than the words\b": "smaller in scale",
    r"\bFiles from strangers\b": "untrusted files",
    r"\bthat knows nothing\b": "untrained",
    r"\bminds its neighbou?rs\b": "does not depend on the rest of the batch",
    r"\bstep along the gradient\b": "against the gradient",
}
BRITISH = {
    r"\b\w*(colou|neighbou|behaviou|favou|flavou)r\w*": "American spelling",
    r"\bgrey(s|scale|ish)?\b": "gray",
    r"\blicence[sd]?\b": "license",
    r"\bcentre[sd]?\b": "center",
    r"\bpractis(e[ds]?|ing)\b": "practice",
    r"\b(normal|initial|standard|token|optim|general|memor|recogn|summar|visual|organ|parallel|"
    r"quant|serial|random|real|equal|util|penal|minim|maxim|emphas)is(e[ds]?|ing|ation|er)\b": (
        "-ize"
    ),
    r"parallelizm\b": "parallelism",
}
PLACEHOLDERS = {
    r"\bOWNER\b": "the address of the repository comes from pyproject.toml",
    r"\b(TODO|FIXME|XXX|TBD)\b": "open an issue instead",
    r"\b(YOUR|INSERT)[-_\s](NAME|USER|USERNAME|REPO|URL|TOKEN|KEY)\b": "a placeholder",
    r"(?i)\blorem ipsum\b": "a placeholder",
}
GONE = {  # names of version 0.1; the changelog may have them
    r"\bextras[./](course|self_critical|distil|export|onnx_caption|pretrain_toy|results|download|"
    r"java_scores|check_data|publishers|bug_museum)": "recipes, tools, docs",
    r"--(second-look|best-by|clip|average|overfit|pixels)\b(?!-)": "see CHANGELOG.md",
    r"\b(distrust|saving|seeing|contract|settings|speed|learning|batches|backbones|drawing|marks|"
    r"clusters|java_scores|publishers|check_data|distil|toy_truth|attention_mass)\.py\b": (
        "see CHANGELOG.md"
    ),
}


def compiled(phrases: dict[str, str]) -> list[tuple[re.Pattern, str]]:
    """Return patterns in which a space matches blanks, line breaks and comment signs."""
    gap = r"(?<![\s#>])[\s#>]+"
    return [(re.compile(pattern.replace(" ", gap)), advice) for pattern, advice in phrases.items()]


RULES = compiled(PHRASES | BRITISH | PLACEHOLDERS)
GONE_RULES = compiled(GONE)


def tracked_files() -> list[Path]:
    """Return the text files that git has or would add; outside a clone, those not hidden."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        names = set(filter(None, listed.stdout.split("\0")))
    except (OSError, subprocess.CalledProcessError):
        ignored = {"build", "data", "runs"}
        names = {
            os.path.relpath(os.path.join(folder, file), ROOT)
            for folder, folders, files in os.walk(ROOT)
            if not folders.sort() and not any(part.startswith(".") for part in Path(folder).parts)
            for file in files
        }
        names = {name for name in names if Path(name).parts[0] not in ignored}
    return [ROOT / name for name in sorted(names - SKIPPED) if Path(name).suffix in SUFFIXES]


def passages(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (place, text) for a file, or for each cell of a notebook."""
    name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        yield name, text
        return
    for i, cell in enumerate(json.loads(text)["cells"]):
        yield f"{name}:cell {i}", "".join(cell["source"])


def complaints(place: str, text: str) -> list[str]:
    """Return `place:line: phrase -> advice` for each phrase that the rules ban."""
    found = []
    rules = RULES if place.startswith("CHANGELOG.md") else RULES + GONE_RULES
    for pattern, advice in rules:
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            phrase = " ".join(match[0].replace("#", " ").split())
            found.append((line, f"{place}:{line}: {phrase!r} -> {advice}"))
    return [complaint for _, complaint in sorted(found)]


def test_no_phrase_that_the_rules_ban():
    found = [
        complaint
        for path in tracked_files()
        if path.is_file()
        for place, text in passages(path)
        for complaint in complaints(place, text)
    ]
    assert not found, f"{len(found)} to rewrite:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "The notebooks run anew.",
        "This is mended.",
        "# Numbers are scaled when the model is in\n# use.",
        "A score is no probability.",
        "    # a frame is\n    # no photograph",
        "Nobody is told.",
        "unless you say --share",
        "unless you say `--share`",
        "at most so many words",
        "It reuses what is there.",
        "numbers the decoder thinks with",
        "the colour of a neighbour",
        "https://github.com/OWNER/course",
        "TODO: describe",
        "python -m extras.course",
        "the other way is --second-look",
    ],
)
def test_finds(text):
    assert complaints("here", text)


@pytest.mark.parametrize(
    "text",
    [
        "There is no photo here; we recommend another amendment.",
        "    # where there\n    # is no file",
        "It is no longer needed, and is no worse.",
        "The address is already in use.",
        "The untold story of so many that it fills a book.",
        "ResNet goes on top of it; serious size; precise raise; surprised",
        "Initialize, normalize, color, neighbor, license, gray, behavior.",
        "the OWNERSHIP of TODOS",
        "--overfit-batch",
    ],
)
def test_leaves_alone(text):
    assert not complaints("here", text)
