"""The web page: a photo in, captions out, and where each word looked. `python gradio_main.py`

    find_captioners(models)   the captioners in a folder: name -> (encoder file, decoder file)
    Desk(...)                 answers requests: `answer` as plain data, `show` as HTML
    make_page(desk, ...)      the page, and the call `/caption` for programs

It listens at http://127.0.0.1:7860: --host 0.0.0.0 lets the network in, --share makes a public
address. What somebody uploads lies in a temporary folder, deleted within an hour or two.
"""

import argparse
import base64
import io
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from html import escape
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio, which would call home

try:
    import gradio as gr
    from gradio.utils import get_upload_folder
except ImportError:
    sys.exit("The page needs its own packages: pip install -r requirements-extra.txt")
from PIL import Image

from caption import ONLY_DRAWN, Caption, Captioner
from photos import read_photo
from seeing import looks, shade
from toy_coco import scene
from vocabulary import cli_errors

HERE = Path(__file__).parent
AT_ONCE = 2  # requests worked on together; the others wait in the queue
WAITING = 100  # requests that may wait, the next is told that the page is busy
PATIENCE = 60  # seconds that a request may take once it is its turn
LARGEST = "20mb"  # of an upload
MOST_CAPTIONS, MOST_ALPHA = 10, 2.0
EXAMPLES = (1, 8, 10, 13, 18, 22)  # numbers of drawn scenes, which training never shows
THEME = gr.themes.Base(
    primary_hue="emerald",
    neutral_hue="stone",
    font=["system-ui", "sans-serif"],  # of the visitor's own system: nothing to download
    font_mono=["ui-monospace", "monospace"],
).set(  # readable greys
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    block_title_text_color="*neutral_700",
    block_label_text_color="*neutral_700",
)


def find_captioners(models: str | os.PathLike) -> dict[str, tuple[Path, Path]]:
    """The pair of files of each captioner in `models` and in the folders inside it, by name.

    Of a training run's folder it is the best pair, or the last; FileNotFoundError if there is none.
    """
    models, found = Path(models), {}
    inside = [models, *sorted(models.iterdir())] if models.is_dir() else []
    for folder in (path for path in inside if path.is_dir()):
        epochs = [path.stem.removeprefix("encoder-") for path in folder.glob("encoder-*.pkl")]
        names = [f"-{epoch}" for epoch in sorted(filter(str.isdecimal, epochs), key=int)]
        for name in ["", "best/", *reversed(names)]:
            place, end = (folder / "best", "") if name == "best/" else (folder, name)
            pair = place / f"encoder{end}.pkl", place / f"decoder{end}.pkl"
            if all(path.is_file() for path in pair):
                found[folder.resolve().name] = pair
                break
    if not found:
        raise FileNotFoundError(
            f"{models} has no captioner (encoder.pkl and decoder.pkl in a folder). "
            "Train one with train.py, or name another folder with --models."
        )
    return found


class Desk:
    """Answers requests with any of the captioners, each loaded when it is first asked for."""

    def __init__(self, pairs: dict[str, tuple[Path, Path]], weights: str | None, device: str):
        self.pairs, self.weights, self.device = pairs, weights, device
        self.loaded: dict[str, Captioner] = {}
        self.loading = threading.Lock()
        self.hands = ThreadPoolExecutor(AT_ONCE)
        self.first = self.first_that_loads()

    def first_that_loads(self) -> str:
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
            raise ValueError(f"There is no captioner of that name; {', '.join(self.pairs)} are.")
        with self.loading:
            if name not in self.loaded:
                self.loaded[name] = Captioner.load(*self.pairs[name], self.weights, self.device)
        return self.loaded[name]

    def answer(self, photo: dict | None, name: str, beam_size: int, alpha: float) -> dict:
        """{"captions": [{"text", "score", "logprob", "words"}, ...]}, the best first.

        Where there is no caption, {"error": "why, in a sentence"}.
        """
        try:
            _, _, captions = self.in_time(self.ask, photo, name, beam_size, alpha)
        except (OSError, ValueError) as error:
            return {"error": str(error)}
        return {"captions": [asdict(caption) for caption in captions]}

    def show(self, photo: dict | None, name: str, beam_size: int, alpha: float) -> str:
        """The same for people, and the photo as each word saw it."""
        if photo is None:
            return INVITATION
        try:
            return as_html(*self.in_time(self.ask, photo, name, beam_size, alpha))
        except (OSError, ValueError) as error:
            return f'<p class="wrong" role="alert">{escape(str(error))}</p>'

    def in_time(self, work: Callable, *arguments):
        try:
            return self.hands.submit(work, *arguments).result(timeout=PATIENCE)
        except TimeoutError:
            raise ValueError(
                f"This photo took more than {PATIENCE} s; try a smaller one."
            ) from None

    def ask(
        self, upload: dict | None, name: str, beam_size: int, alpha: float
    ) -> tuple[Captioner, Image.Image, list[Caption]]:
        """Everything is checked here: a program can send what the page's sliders never would."""
        if beam_size not in range(1, MOST_CAPTIONS + 1):
            raise ValueError(f"The beam's size is a whole number from 1 to {MOST_CAPTIONS}.")
        if not isinstance(alpha, int | float) or not 0 <= alpha <= MOST_ALPHA:
            raise ValueError(f"alpha is a number from 0 to {MOST_ALPHA:g}.")
        if not upload or not upload.get("path"):
            raise ValueError("There is no photo; upload one.")
        captioner, path = self.captioner(name), Path(upload["path"]).resolve()
        if not path.is_relative_to(Path(get_upload_folder()).resolve()):
            raise ValueError("That is no upload of yours.")  # gradio lets some other paths through
        try:
            photo = read_photo(path, captioner.transform.enough)
        except (
            OSError,
            ValueError,
        ) as error:  # speaks of the file by the visitor's own name for it
            raise ValueError(str(error).replace(str(path), path.name)) from None
        size = int(beam_size)
        return captioner, photo, captioner.caption([photo], size, alpha, n_best=size)[0]


def as_html(captioner: Captioner, photo: Image.Image, captions: list[Caption]) -> str:
    """The captions, and below them the photo; a word shows where the captioner looked for it.

    Plain radio buttons: they work with a mouse, a finger, the arrow keys and a screen reader.
    """
    best, *others = captions
    rows = "".join(
        f"<li><span>{escape(caption.text)}</span> <data>score {caption.score:.2f}</data></li>"
        for caption in others
    )
    maps, attends = looks(captioner, photo, best.words) if best.words else ((), True)
    photo = photo.copy()
    photo.thumbnail((640, 640))
    buttons = "".join(
        f'<label><input type="radio" name="look"><span>{escape(captioner.vocab.words[word])}</span>'
        f'<img alt="" src="{as_url(shade(look), "PNG")}"></label>'
        for word, look in zip(best.words, maps, strict=True)
    )
    what = (
        "Where it looked before it said"
        if attends
        else "No attention in this decoder: what spoke for"
    )
    return f"""<p class="best" aria-live="polite">{escape(best.text) or "(no words)"}
        <data>score {best.score:.2f}</data></p>
        <ol class="others" start="2">{rows}</ol>
        <fieldset class="looks"><legend>{what} each word</legend>
        <div class="stage" style="--shape: {photo.width} / {photo.height}">
        <img alt="the photo" src="{as_url(photo, "JPEG")}">
        <label><input type="radio" name="look" checked><span>whole photo</span></label>
        {buttons}</div></fieldset>"""


def as_url(picture: Image.Image, kind: str) -> str:
    """A picture inside the page itself, so that no file of it is left."""
    memory = io.BytesIO()
    picture.save(memory, kind, quality=85)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(memory.getvalue()).decode()}"


def draw_examples(folder: str) -> list[str]:
    """Scenes that are in no data set of the course, as files in `folder`."""
    paths = [str(Path(folder, f"scene-{number}.png")) for number in EXAMPLES]
    for number, path in zip(EXAMPLES, paths, strict=True):
        Image.fromarray(scene(0, "page", number)[0]).save(path)
    return paths


def make_page(desk: Desk, examples: list[str]) -> gr.Blocks:
    """The page; its call `/caption` takes what its four inputs take and returns `Desk.answer`."""
    with gr.Blocks(title="Captions for photos", delete_cache=(600, 3600)) as page:
        gr.HTML(HEADING)
        note = note_on(desk, desk.first)
        with gr.Row():
            with gr.Column(elem_id="left"):
                photo = gr.Image(
                    label="Photo",
                    type="filepath",
                    image_mode=None,
                    sources=["upload", "clipboard", "webcam"],
                    height=340,
                    elem_id="photo",
                )
                gr.Examples(examples, photo, label="Or one of these drawn scenes")
                with gr.Group(elem_id="settings"):
                    name = gr.Dropdown(list(desk.pairs), value=desk.first, label="Captioner")
                    kept = "captions kept alive; all are shown"
                    beam_size = gr.Slider(1, MOST_CAPTIONS, 3, step=1, label="Beam size", info=kept)
                    longer = "the larger, the longer the captions"
                    alpha = gr.Slider(0, MOST_ALPHA, 0.7, step=0.1, label="alpha", info=longer)
            with gr.Column(elem_id="right"):
                shown = gr.HTML(INVITATION)
                with gr.Accordion("For programs", open=False):
                    button = gr.Button("Show the answer as JSON", size="sm")
                    data = gr.JSON(label="What the call /caption returns")
        inputs = [photo, name, beam_size, alpha]
        changes = [photo.change, name.change, beam_size.change, alpha.change]
        # `preprocess=False`: gradio would open the upload itself, and not answer in a sentence
        how = {"preprocess": False, "concurrency_limit": AT_ONCE, "concurrency_id": "desk"}
        last = {"trigger_mode": "always_last", "api_visibility": "private"}
        gr.on(changes, desk.show, inputs, shown, **how, **last)
        button.click(desk.answer, inputs, data, api_name="caption", **how)
        name.change(lambda name: note_on(desk, name), name, note, api_visibility="private")
    return page.queue(max_size=WAITING)


def note_on(desk: Desk, name: str) -> gr.HTML:
    """What the visitor must know of this captioner; hidden where it knows photographs."""
    try:
        only_drawn = desk.captioner(name).only_drawn
    except (OSError, ValueError):
        only_drawn = False  # the answer itself will say what is wrong
    return gr.HTML(f'<p class="note">Note: {escape(ONLY_DRAWN)}</p>', visible=only_drawn)


def launch(page: gr.Blocks, host: str, port: int, share: bool = False, wait: bool = True) -> str:
    """Serves the page until Ctrl-C (`wait`), or in the background; returns its address."""
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        share=share,
        prevent_thread_lock=not wait,
        quiet=not wait,
        max_file_size=LARGEST,
        theme=THEME,
        css_paths=HERE / "images" / "page.css",
        footer_links=["api"],
        ssr_mode=False,  # one process, no Node
        run_history=False,
        strict_cors=True,
    )
    return address


HEADING = """<header><h1>Captions for photos</h1>
<p>A network looks at a photo, another one says what it sees, word by word.</p></header>"""
INVITATION = '<p class="invitation">Upload, paste or take a photo, or choose a drawn scene.</p>'


def main() -> None:
    parser = argparse.ArgumentParser(description="Opens the web page.")
    parser.add_argument("--models", default=HERE / "models", help="folder of captioners' folders")
    parser.add_argument("--weights", help="the backbone's, if not where the encoder files say")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    host = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    where = "who may open it: 127.0.0.1 (default) this computer, 0.0.0.0 the network"
    parser.add_argument("--host", default=host, help=where)
    parser.add_argument("--port", type=int, default=7860, help="%(default)s")
    parser.add_argument("--share", action="store_true", help="make a public address, for 72 hours")
    arguments = parser.parse_args()
    with cli_errors(), tempfile.TemporaryDirectory() as folder:
        pairs = find_captioners(arguments.models)
        page = make_page(Desk(pairs, arguments.weights, arguments.device), draw_examples(folder))
        launch(page, arguments.host, arguments.port, arguments.share)


if __name__ == "__main__":
    main()
