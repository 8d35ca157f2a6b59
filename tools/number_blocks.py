"""The text that the documents have between `<!-- numbers: NAME -->` and `<!-- end of numbers -->`.

Each function of BLOCKS makes such a text from the files in benchmarks/numbers. A name may be
followed by an argument: `<!-- numbers: run-time 2_Training -->`.
"""

import re
import textwrap
from collections.abc import Callable, Iterable

from tools.number_stages import SEEDS, Numbers, load

WIDTH = 118  # of a paragraph
MIN_CASES = 10  # a percentage of fewer claims is left out
SHIPPED = "toy-lstm", "toy-attention"
GRADES = {  # name in the output of recipes.grade_toy: name in the tables
    "things": "named objects that are present",
    "largest": "largest object named",
    "colors": "correct colors",
    "colors of unseen pairs": "correct colors, pairs never seen in training",
    "settings": "correct settings",
    "numbers of two or more": "correct counts, two or more",
    "relations": "correct relations",
}
FEW_CASES = "colors of unseen pairs", "numbers of two or more"
FLICKR8K = {  # stage: name in the table
    "flickr8k-lstm": "an LSTM, 8 epochs; greedy captions",
    "flickr8k-one-round": "`--recipe best --self-critical-rounds 1`",
    "flickr8k-best": "`--recipe best`",
}


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    head = list(head)
    lines = (f"| {' | '.join(row)} |".replace("  ", " ") for row in (head, *rows))
    first, *others = lines
    return "\n".join([first, f"|{' --- |' * len(head)}", *others])


def where(name: str) -> str:
    """Return cores and precision of the machine that ran a stage, and the date."""
    record = load(name)
    machine = re.sub(r" \(.*?\)|, torch.*", "", record["machine"]).removeprefix("x86_64 CPU, ")
    return f"{machine.replace('1 cores', '1 core')}, {record['date']}"


def command(name: str) -> str:
    """Return the first command of a stage, as one would type it."""
    return next(iter(load(name)["commands"])).replace(f"build/numbers/{name}/", "")


def minutes(seconds: float) -> str:
    """Return a time as `3 min 20 s`, in whole minutes from a quarter of an hour on."""
    if seconds >= 900:
        return f"{seconds / 60:.0f} min"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s" if seconds >= 120 else f"{seconds:.0f} s"


def toy_grades(beam: str) -> dict[str, Numbers]:
    """Return the grades of each shipped pair, and of the control."""
    grades = {name: load(name)["numbers"][f"grades-{beam}"] for name in SHIPPED}
    columns = {f"`{name}`": grades[name]["captions"] for name in SHIPPED}
    return columns | {"control": grades["toy-lstm"]["control"]}


def percent(grade: Numbers, digits: int) -> str:
    """Return the percentage of claims that are right; nothing where they are too few."""
    if grade["said"] < MIN_CASES:
        return ""
    value = grade["right"] + 1e-6  # .5 is rounded up: it has been rounded down already
    return f"{value:.{digits}f} %"


def toy_scores(beam: str, score: str) -> list[float]:
    """Return a score of each shipped pair."""
    return [load(name)["numbers"][f"scores-{beam}"]["captions"][score] for name in SHIPPED]


def toy_greedy() -> str:
    """Return the README's table of the shipped pairs: greedy captions of the test pictures."""
    columns, rows = toy_grades("beam-1"), []
    for key in list(GRADES)[:-1]:  # without relations
        said = dict.fromkeys(str(columns[f"`{name}`"][key]["said"]) for name in SHIPPED)
        cases = f" ({' and '.join(said)} cases)" if key in FEW_CASES else ""
        cells = (percent(grades[key], 0) for grades in columns.values())
        rows.append([GRADES[key] + cases, *cells])
    scores = zip(toy_scores("beam-1", "CIDEr"), toy_scores("beam-1", "BLEU-4"), strict=True)
    cells = (f"{cider:.0f}, {bleu:.0f}" for cider, bleu in scores)
    return markdown(["", *columns], [*rows, ["CIDEr, BLEU-4 (times 100)", *cells, ""]])


def toy_beam() -> str:
    """Return the model card's table: beam search with the default options."""
    columns = toy_grades("beam-3")
    rows = [
        [score, *(f"{value:.1f}" for value in toy_scores("beam-3", score)), ""]
        for score in ("BLEU-4", "CIDEr")
    ]
    rows += [
        [text, *(percent(grades[key], 1) for grades in columns.values())]
        for key, text in GRADES.items()
    ]
    return markdown(["", *columns], rows)


def speed() -> str:
    """Return the README's table of times."""
    naive, fast = (load("pipeline")["numbers"]["rows"][i] for i in (0, 1))
    seconds, rate = float(fast["seconds"]), float(naive["captions/s"])
    times = float(naive["seconds"]) / seconds
    _, resnet, _, lite = (row["seconds"] for row in load("pipeline-lite")["numbers"]["rows"])
    extraction = load("extraction")["numbers"]["rows"]
    best = max(extraction, key=lambda row: float(row["photos/s"]))
    plain = next(row for row in extraction if row["batch"] == best["batch"])
    what = {
        "course": ("the four notebooks", minutes(load("course")["numbers"]["seconds"]["all four"])),
        "pipeline": (
            "Flickr8k, 6,000 JPEG files to the weights of epoch 3 (LSTM)",
            f"{seconds:.0f} s, **{times:.0f} times** faster than the usual loop "
            f"({rate:.0f} captions a second)",
        ),
        "pipeline-lite": (
            "the same with EfficientNet-Lite0, from its package",
            f"{float(lite):.0f} s; with ResNet-50, in the same run, {float(resnet):.0f} s: "
            f"**{float(resnet) / float(lite):.1f} times** as fast",
        ),
        "extraction": (
            "ResNet-50 in this course, and by torchvision alone",
            f"{float(best['photos/s']):.0f} and {float(plain['photos/s']):.0f} photos a second",
        ),
    }
    rows = ([*texts, where(name), f"`{command(name)}`"] for name, texts in what.items())
    return markdown(["what", "measured", "machine, date", "command"], rows)


def flickr8k() -> str:
    """Return the README's table of scores on Flickr8k."""
    rows = []
    for name, text in FLICKR8K.items():
        record = load(name)
        scores, seconds = record["numbers"]["scores-val"]["captions"], record["commands"].values()
        time = next(iter(seconds))  # of the training run
        cells = f"{scores['BLEU-4']:.1f}", f"{scores['CIDEr']:.1f}"
        rows.append([text, minutes(time) if time else "", *cells, where(name)])
    return markdown(["training", "time", "BLEU-4", "CIDEr", "machine, date"], rows)


PHOTO_SPLITS = {
    "flickr8k": "Flickr8k, 1,000 development photos",
    "coco": "COCO val2017, 43 photos of odd ids",
}


def photos() -> str:
    """Return the scores of the captioner of photographs, beside baselines."""
    head = ["", "BLEU-4", "CIDEr", "METEOR", "*human*", "*common*"]
    rows = []
    for name, text in PHOTO_SPLITS.items():
        scores = load("photos")["numbers"][f"scores-{name}"]
        low, high = scores["intervals"]["CIDEr"]
        captions, others = scores["captions"], (scores["human"], scores["common"])
        rows.append(
            [
                text,
                f"{captions['BLEU-4']:.1f}",
                f"**{captions['CIDEr']:.1f}** ({low:.1f} to {high:.1f})",
                f"{scores['java']['METEOR']:.1f}",
                *(f"{other['CIDEr']:.1f}" for other in others),
            ]
        )
    return markdown(head, rows)


def judged() -> str:
    """Return how many captions of photographs are right, by what the photos show."""
    numbers = load("photos")["numbers"]["judged"]
    marks = list(next(iter(numbers["subjects"].values())))
    rows = [[s, *(str(found[mark]) for mark in marks)] for s, found in numbers["subjects"].items()]
    found = {m: sum(row[m] for row in numbers["subjects"].values()) for m in marks}
    rows.append(["all", *(f"**{found[mark]}**" for mark in marks)])
    total, good = numbers["photos"], numbers["right or partly"]
    low, high = (100 * end for end in numbers["interval"])
    text = (
        f"At least partly right: {good} of {total}, {100 * good / total:.0f} % "
        f"(95 %: {low:.0f} to {high:.0f}). Both readings gave {numbers['readings agree']} of "
        f"{total} photos the same mark."
    )
    return f"{markdown(['', *marks], rows)}\n\n{textwrap.fill(text, WIDTH)}"


def familiarity() -> str:
    """Return how well a captioner's familiarity knows its failures."""
    numbers = load("photos")["numbers"]["judged"]
    text = (
        "Areas under ROC curves. Captions that are at least partly right against wrong ones: "
        f"**{numbers['auc right, trust']:.2f}** by trust, {numbers['auc right, familiarity']:.2f} "
        "by familiarity alone. Flickr8k's development photos against photos of food, rooms and "
        f"things: **{numbers['auc unlike']:.2f}** by familiarity."
    )
    return textwrap.fill(text, WIDTH)


def scaling() -> str:
    """Return the table of docs/SCALING.md, after the command that printed it."""
    rows = load("scaling")["numbers"]["rows"]
    about = f"Printed by `{command('scaling')}` ({where('scaling')}):"
    return f"{about}\n\n{markdown(rows[0], (row.values() for row in rows))}"


def expect() -> str:
    """Return what notebook 2 promises about its own run, and what three seeds gave."""
    bounds, seeds = load("notebooks")["numbers"], load("notebook-2")["numbers"]
    texts = {"CIDEr": "", "things": " % of things", "colors": " % of colors", "settings": " %"}
    first, *rest = (f"{bounds[key]['low']} to {bounds[key]['high']}{texts[key]}" for key in texts)
    spread = []
    for key in texts:
        values = [seed_value(seeds, seed, key) for seed in SEEDS]
        spread.append(f"{min(values):.0f} to {max(values):.0f}")
    text = (
        f"**Expect** a CIDEr of {first} in the last epoch, with {rest[0]}, {rest[1]} and {rest[2]} "
        f"of settings correct. Three seeds gave {', '.join(spread[:3])} and {spread[3]}: "
        "initial weights, order and dropout are random, and processors round differently."
    )
    return textwrap.fill(text, WIDTH)


def seed_value(seeds: Numbers, seed: int, key: str) -> float:
    """Return CIDEr or a grade of the validation pictures after the run of notebook 2."""
    if key == "CIDEr":
        return seeds[f"scores-seed-{seed}"]["captions"]["CIDEr"]
    return seeds[f"grades-seed-{seed}"]["captions"][key]["right"]


def run_time(notebook: str) -> str:
    """Return how long a notebook takes, roughly."""
    seconds = load("course")["numbers"]["seconds"][notebook]
    if seconds < 50:
        return "under a minute"
    return "about a minute" if seconds < 90 else f"about {seconds / 60:.0f} minutes"


BLOCKS: dict[str, Callable[..., str]] = {
    "toy-greedy": toy_greedy,
    "toy-beam": toy_beam,
    "speed": speed,
    "flickr8k": flickr8k,
    "photos": photos,
    "judged": judged,
    "familiarity": familiarity,
    "scaling": scaling,
    "expect": expect,
    "run-time": run_time,
}
