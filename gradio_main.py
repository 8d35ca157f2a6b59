"""The web page: a photo in, captions out, and the attention of each word. `python gradio_main.py`

    find_captioners(models)   the captioners in a folder: name -> (encoder file, decoder file)
    CaptionService(...)       answers requests: `predict_json` as plain data, `predict_html` as HTML
    make_page(service, ...)   the page, and the call `/caption` for programs

It listens at http://127.0.0.1:7860: --host 0.0.0.0 lets the network in, --share makes a public
address. Uploads are kept in a temporary folder and deleted within an hour or two.
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

from captioning.data.photos import read_photo
from captioning.files import PathLike, cli_errors
from captioning.inference.attention_maps import attention_maps, attention_overlay
from captioning.inference.captioner import TOY_WARNING, Caption, Captioner
from captioning.toy.scenes import scene

HERE = Path(__file__).parent
CONCURRENCY = 2  # requests handled at once; the others wait in the queue
MAX_QUEUE = 100  # requests that may wait; the next one gets an error: the page is busy
TIMEOUT = 60  # seconds that a request may take once it is its turn
MAX_UPLOAD = "20mb"
MAX_BEAM_SIZE, MAX_ALPHA = 10, 2.0
EXAMPLES = (1, 8, 10, 13, 18, 22)  # numbers of drawn scenes, which training never shows
THEME = gr.themes.Base(
    primary_hue="emerald",
    neutral_hue="stone",
    font=["system-ui", "sans-serif"],  # of the visitor's own system: nothing to download
    font_mono=["ui-monospace", "monospace"],
).set(  # readable grays
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    block_title_text_color="*neutral_700",
    block_label_text_color="*neutral_700",
)


def find_captioners(models: PathLike) -> dict[str, tuple[Path, Path]]:
    """Return the pair of files of each captioner in `models` and its folders, by name.

    For a training run's folder it is the best pair, or the last one. Raises FileNotFoundError if
    there is no captioner.
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


class CaptionService:
    """Answers requests with any of the captioners, each loaded when it is first needed."""

    def __init__(self, pairs: dict[str, tuple[Path, Path]], weights: str | None, device: str):
        self.pairs, self.weights, self.device = pairs, weights, device
        self.loaded: dict[str, Captioner] = {}
        self.loading = threading.Lock()
        self.pool = ThreadPoolExecutor(CONCURRENCY)
        self.first = self._first_that_loads()

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
                self.loaded[name] = Captioner.load(*self.pairs[name], self.weights, self.device)
        return self.loaded[name]

    def predict_json(self, photo: dict | None, name: str, beam_size: int, alpha: float) -> dict:
        """Return {"captions": [{"text", "score", "logprob", "words"}, ...]}, the best first.

        Where there is no caption, return {"error": "the reason, in a sentence"}.
        """
        try:
            _, _, captions = self.with_timeout(self.ask, photo, name, beam_size, alpha)
        except (OSError, ValueError) as error:
            return {"error": str(error)}
        return {"captions": [asdict(caption) for caption in captions]}

    def predict_html(self, photo: dict | None, name: str, beam_size: int, alpha: float) -> str:
        """Return the same for people, with the photo and the attention of each word."""
        if photo is None:
            return EMPTY_HTML
        try:
            return as_html(*self.with_timeout(self.ask, photo, name, beam_size, alpha))
        except (OSError, ValueError) as error:
            return f'<p class="wrong" role="alert">{escape(str(error))}</p>'

    def with_timeout(self, work: Callable, *arguments):
        try:
            return self.pool.submit(work, *arguments).result(timeout=TIMEOUT)
        except TimeoutError:
            raise ValueError(f"This photo took more than {TIMEOUT} s; try a smaller one.") from None

    def ask(
        self, upload: dict | None, name: str, beam_size: int, alpha: float
    ) -> tuple[Captioner, Image.Image, list[Caption]]:
        """Caption an upload. Everything is checked: a program can send what no slider would."""
        if beam_size not in range(1, MAX_BEAM_SIZE + 1):
            raise ValueError(f"The beam's size is a whole number from 1 to {MAX_BEAM_SIZE}.")
        if not isinstance(alpha, int | float) or not 0 <= alpha <= MAX_ALPHA:
            raise ValueError(f"alpha is a number from 0 to {MAX_ALPHA:g}.")
        if not upload or not upload.get("path"):
            raise ValueError("There is no photo; upload one.")
        captioner, path = self.captioner(name), Path(upload["path"]).resolve()
        if not path.is_relative_to(Path(get_upload_folder()).resolve()):
            raise ValueError("That is not one of your uploads.")  # gradio lets other paths through
        try:
            photo = read_photo(path, captioner.transform.min_side)
        except (
            OSError,
            ValueError,
        ) as error:  # names the file as the visitor does
            raise ValueError(str(error).replace(str(path), path.name)) from None
        size = int(beam_size)
        return captioner, photo, captioner.caption([photo], size, alpha, n_best=size)[0]


def as_html(captioner: Captioner, photo: Image.Image, captions: list[Caption]) -> str:
    """Return the captions, and below them the photo with the attention of the chosen word.

    Plain radio buttons: they work with a mouse, a finger, the arrow keys and a screen reader.
    """
    best, *others = captions
    rows = "".join(
        f"<li><span>{escape(caption.text)}</span> <data>score {caption.score:.2f}</data></li>"
        for caption in others
    )
    maps, is_attention = attention_maps(captioner, photo, best.words) if best.words else ((), True)
    photo = photo.copy()
    photo.thumbnail((640, 640))
    buttons = "".join(
        f'<label><input type="radio" name="look"><span>{escape(captioner.vocab.words[word])}</span>'
        f'<img alt="" src="{as_url(attention_overlay(weights), "PNG")}"></label>'
        for word, weights in zip(best.words, maps, strict=True)
    )
    legend = "Attention before" if is_attention else "No attention in this decoder: Grad-CAM of"
    return f"""<p class="best" aria-live="polite">{escape(best.text) or "(no words)"}
        <data>score {best.score:.2f}</data></p>
        <ol class="others" start="2">{rows}</ol>
        <fieldset class="looks"><legend>{legend} each word</legend>
        <div class="stage" style="--shape: {photo.width} / {photo.height}">
        <img alt="the photo" src="{as_url(photo, "JPEG")}">
        <label><input type="radio" name="look" checked><span>whole photo</span></label>
        {buttons}</div></fieldset>"""


def as_url(picture: Image.Image, kind: str) -> str:
    """Return a picture as part of the page itself, so that no file of it remains."""
    memory = io.BytesIO()
    picture.save(memory, kind, quality=85)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(memory.getvalue()).decode()}"


def draw_examples(folder: str) -> list[str]:
    """Draw scenes that are in none of the course's splits into `folder`; return their paths."""
    paths = [str(Path(folder, f"scene-{number}.png")) for number in EXAMPLES]
    for number, path in zip(EXAMPLES, paths, strict=True):
        Image.fromarray(scene(0, "page", number)[0]).save(path)
    return paths


def make_page(service: CaptionService, examples: list[str]) -> gr.Blocks:
    """Build the page; `/caption` takes the same inputs and returns what `predict_json` does."""
    with gr.Blocks(title="Captions for photos", delete_cache=(600, 3600)) as page:
        gr.HTML(HEADING)
        note = toy_warning(service, service.first)
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
                    name = gr.Dropdown(list(service.pairs), value=service.first, label="Captioner")
                    kept = "captions kept at each step; all are shown"
                    beam_size = gr.Slider(1, MAX_BEAM_SIZE, 3, step=1, label="Beam size", info=kept)
                    longer = "larger values give longer captions"
                    alpha = gr.Slider(0, MAX_ALPHA, 0.7, step=0.1, label="alpha", info=longer)
            with gr.Column(elem_id="right"):
                shown = gr.HTML(EMPTY_HTML)
                with gr.Accordion("For programs", open=False):
                    button = gr.Button("Show the result as JSON", size="sm")
                    data = gr.JSON(label="Result of the call /caption")
        inputs = [photo, name, beam_size, alpha]
        changes = [photo.change, name.change, beam_size.change, alpha.change]
        # `preprocess=False`: gradio would open the upload itself, and give no readable error
        how = {"preprocess": False, "concurrency_limit": CONCURRENCY, "concurrency_id": "service"}
        last = {"trigger_mode": "always_last", "api_visibility": "private"}
        gr.on(changes, service.predict_html, inputs, shown, **how, **last)
        button.click(service.predict_json, inputs, data, api_name="caption", **how)
        name.change(lambda name: toy_warning(service, name), name, note, api_visibility="private")
    return page.queue(max_size=MAX_QUEUE)


def toy_warning(service: CaptionService, name: str) -> gr.HTML:
    """Return the note that this captioner has only seen drawings; hidden if it has seen photos."""
    try:
        toy_only = service.captioner(name).toy_only
    except (OSError, ValueError):
        toy_only = False  # the result itself will say what is wrong
    return gr.HTML(f'<p class="note">Note: {escape(TOY_WARNING)}</p>', visible=toy_only)


def launch(page: gr.Blocks, host: str, port: int, share: bool = False, wait: bool = True) -> str:
    """Serve the page until Ctrl-C (`wait`), or in the background; return its address."""
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        share=share,
        prevent_thread_lock=not wait,
        quiet=not wait,
        max_file_size=MAX_UPLOAD,
        theme=THEME,
        css_paths=HERE / "images" / "page.css",
        footer_links=["api"],
        ssr_mode=False,  # one process, no Node
        run_history=False,
        strict_cors=True,
    )
    return address


HEADING = """<header><h1>Captions for photos</h1>
<p>One network encodes the photo, another writes its caption, word by word.</p></header>"""
EMPTY_HTML = '<p class="invitation">Upload, paste or take a photo, or choose a drawn scene.</p>'


def main() -> None:
    parser = argparse.ArgumentParser(description="Open the web page.")
    parser.add_argument(
        "--models", default=HERE / "models", help="folder with a folder for each captioner"
    )
    parser.add_argument("--weights", help="backbone weights, if not where the encoder files say")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    host = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    about = "who may open it: 127.0.0.1 (default) this computer, 0.0.0.0 the network"
    parser.add_argument("--host", default=host, help=about)
    parser.add_argument("--port", type=int, default=7860, help="%(default)s")
    parser.add_argument("--share", action="store_true", help="create a public address for 72 hours")
    arguments = parser.parse_args()
    with cli_errors(), tempfile.TemporaryDirectory() as folder:
        pairs = find_captioners(arguments.models)
        page = make_page(
            CaptionService(pairs, arguments.weights, arguments.device), draw_examples(folder)
        )
        launch(page, arguments.host, arguments.port, arguments.share)


if __name__ == "__main__":
    main()
