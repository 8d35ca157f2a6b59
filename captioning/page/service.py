"""Answer requests of the web page and of programs, whatever they send. No gradio in here.

CONTROLS              the choices of a search, with their labels, ranges and defaults
CaptionService(...)   `predict_json` answers as plain data, `predict_html` as HTML
"""

import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from captioning.data.photos import read_photo
from captioning.files import PathLike
from captioning.inference.captioner import Caption, Captioner
from captioning.page.catalog import Pair
from captioning.page.rendering import EMPTY_HTML, as_html, sentence

CONCURRENCY = 2  # requests handled at once; the others wait in the queue
TIMEOUT = 60  # seconds that a request may take once it is its turn


@dataclass(frozen=True)
class Control:
    """A choice of the search: a slider on the page, a number in the call `/caption`."""

    label: str
    about: str
    low: float
    high: float
    step: float  # 1: whole numbers only
    default: float

    def check(self, value: object) -> None:
        """Raise ValueError where no slider would give this value; a program can send any."""
        whole = self.step == 1
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not self.low <= value <= self.high or (whole and value % 1):  # type: ignore
            kind = "whole number" if whole else "number"
            raise ValueError(f"{self.label} is a {kind} from {self.low:g} to {self.high:g}.")


CONTROLS = {  # argument of `Captioner.caption` -> how to choose it
    "beam_size": Control("Beam size", "captions kept at each step; all are shown", 1, 100, 1, 3),
    "alpha": Control("Length penalty (alpha)", "larger values: longer captions", 0, 2, 0.1, 0.7),
    "temperature": Control(
        "Temperature", "0: the likeliest captions; above 0: words chosen at random", 0, 3, 0.1, 0
    ),
    "top_k": Control("Top-k", "random words among the k likeliest only; 0: all", 0, 100, 1, 0),
    "top_p": Control(
        "Top-p", "random words among the likeliest only, up to this probability", 0.01, 1, 0.01, 1
    ),
    "no_repeat_ngram_size": Control(
        "Block repeats", "never repeat a sequence of this many words; 0: allow it", 0, 5, 1, 0
    ),
    "seed": Control("Seed", "another number makes other random choices", 0, 1000, 1, 0),
}
BASIC = ("beam_size", "alpha")  # the others are under "Advanced"


class CaptionService:
    """Answers requests with any of the captioners, each loaded when it is first needed.

    pairs    from `find_captioners`, the default first
    uploads  folder that photos may come from
    memory   data folder whose captions help to choose; see inference/memory.py
    """

    def __init__(
        self,
        pairs: dict[str, Pair],
        weights: Sequence[str] | None,
        device: str,
        uploads: PathLike,
        memory: PathLike | None = None,
    ):
        self.pairs, self.weights, self.device = pairs, weights, device
        self.uploads, self.memory = Path(uploads).resolve(), memory
        self.loaded: dict[str, Captioner] = {}
        self.loading = threading.Lock()
        self.pool = ThreadPoolExecutor(CONCURRENCY)
        self.default = self._first_that_loads()

    def _first_that_loads(self) -> str:
        for name in self.pairs:
            try:
                self.captioner(name)
            except (OSError, ValueError) as error:
                print(f"note: {name} is left out: {error}", file=sys.stderr)
            else:
                return name
        raise ValueError("no captioner could be loaded; the notes above say why")

    def captioner(self, name: str) -> Captioner:
        if name not in self.pairs:
            raise ValueError(f"There is no captioner of that name; choose {', '.join(self.pairs)}.")
        with self.loading:
            if name not in self.loaded:
                self.loaded[name] = Captioner.load(
                    *self.pairs[name], self.weights, self.device, self.memory
                )
        return self.loaded[name]

    def predict_json(
        self,
        photo: dict | None,
        name: str,
        beam_size: int = 3,
        alpha: float = 0.7,
        temperature: float = 0,
        top_k: int = 0,
        top_p: float = 1,
        no_repeat_ngram_size: int = 0,
        seed: int = 0,
    ) -> dict:
        """Return {"captions": [{"text", "score", "logprob", "words"}, ...]}, the best first.

        Captions of random words have no score: it is null. Where there is no caption, return
        {"error": "the reason, in a sentence"}.
        """
        choices = beam_size, alpha, temperature, top_k, top_p, no_repeat_ngram_size, seed
        try:
            _, _, captions = self.with_timeout(self.ask, photo, name, *choices)
        except (OSError, ValueError) as error:
            return {"error": str(error)}
        return {"captions": [caption.as_dict() for caption in captions]}

    def predict_html(self, photo: dict | None, name: str, *choices: float) -> str:
        """Return the same for people, with the photo and the attention of each word.

        choices  as in CONTROLS, in its order
        """
        if photo is None:
            return EMPTY_HTML
        try:
            return as_html(*self.with_timeout(self.ask, photo, name, *choices))
        except (OSError, ValueError) as error:
            return sentence(error)

    def with_timeout(self, work: Callable, *arguments):
        try:
            return self.pool.submit(work, *arguments).result(timeout=TIMEOUT)
        except TimeoutError:
            raise ValueError(f"This photo took more than {TIMEOUT} s; try a smaller one.") from None

    def ask(
        self, upload: dict | None, name: str, *choices: float
    ) -> tuple[Captioner, Image.Image, list[Caption]]:
        """Caption an upload. Everything is checked: a program can send what no slider would."""
        options = dict(zip(CONTROLS, choices, strict=True))
        for key, control in CONTROLS.items():
            control.check(options[key])
            if control.step == 1:
                options[key] = int(options[key])
        if not upload or not upload.get("path"):
            raise ValueError("There is no photo; upload one.")
        captioner, path = self.captioner(name), Path(upload["path"]).resolve()
        if not path.is_relative_to(self.uploads):
            raise ValueError("That is not one of your uploads.")  # gradio lets other paths through
        try:
            photo = read_photo(path, captioner.min_side)
        except (OSError, ValueError) as error:  # names the file as the visitor does
            raise ValueError(str(error).replace(str(path), path.name)) from None
        n_best = int(options["beam_size"])
        return captioner, photo, captioner.caption([photo], n_best=n_best, **options)[0]  # type: ignore
