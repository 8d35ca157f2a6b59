"""The web page: a photo in, captions out, and the attention of each word. `python gradio_main.py`

    make_page(service, ...)   the page, and the call `/caption` for programs
    launch(page, ...)         serves it

In captioning/page, catalog.py finds the captioners, service.py answers requests, and rendering.py
turns the answers into HTML.

It listens at http://127.0.0.1:7860: --host 0.0.0.0 lets the network in, --share makes a public
address. Uploads are kept in a temporary folder and deleted within an hour or two.
"""

import argparse
import os
import sys
import tempfile
from html import escape
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio, which would call home

try:
    import gradio as gr
    from gradio.utils import get_upload_folder
except ImportError:
    sys.exit("The page needs its own packages: pip install -r requirements-extra.txt")
from PIL import Image

from captioning.data.album import album
from captioning.files import cli_errors
from captioning.inference.captioner import TOY_WARNING
from captioning.page.catalog import find_captioners, title
from captioning.page.rendering import EMPTY_HTML
from captioning.page.service import BASIC, CONCURRENCY, CONTROLS, CaptionService
from captioning.toy.scenes import scene

HERE = Path(__file__).parent
MAX_QUEUE = 100  # requests that may wait; the next one gets an error: the page is busy
MAX_UPLOAD = "20mb"
SCENES = (1, 8, 10, 13, 18, 22)  # numbers of drawn scenes, which training never shows
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


def make_examples(folder: str) -> dict[str, list[str]]:
    """Return the paths of photos that are installed here, and of scenes drawn into `folder`.

    The scenes are in none of the course's splits.
    """
    scenes = [str(Path(folder, f"scene-{number}.png")) for number in SCENES]
    for number, path in zip(SCENES, scenes, strict=True):
        Image.fromarray(scene(0, "page", number)[0]).save(path)
    return {
        "Or one of these photographs": [str(photo.path) for photo in album()],
        "Drawn scenes, for the captioners of drawn scenes": scenes,
    }


class Page(gr.Blocks):
    """The page as a server; a program may leave out the last inputs, which keep their defaults."""

    def validate_inputs(self, block_fn, inputs) -> None:
        inputs += [block.value for block in block_fn.inputs[len(inputs) :]]
        super().validate_inputs(block_fn, inputs)


def make_page(service: CaptionService, examples: dict[str, list[str]]) -> gr.Blocks:
    """Build the page; `/caption` takes the same inputs and returns what `predict_json` does.

    examples  paths of photos, under a heading for each gallery
    """
    with Page(title="Captions for photos", delete_cache=(600, 3600)) as page:
        gr.HTML(HEADING)
        note = toy_warning(service, service.default)
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
                for heading, paths in examples.items():
                    if paths:
                        gr.Examples(paths, photo, label=heading)
                with gr.Group(elem_id="settings"):
                    listed = [(title(name, pair), name) for name, pair in service.pairs.items()]
                    name = gr.Dropdown(listed, value=service.default, label="Captioner")
                    sliders = [slider(key) for key in BASIC]
                    with gr.Accordion("Advanced", open=False):
                        sliders += [slider(key) for key in CONTROLS if key not in BASIC]
            with gr.Column(elem_id="right"):
                shown = gr.HTML(EMPTY_HTML)
                with gr.Accordion("For programs", open=False):
                    button = gr.Button("Show the result as JSON", size="sm")
                    data = gr.JSON(label="Result of the call /caption")
        inputs = [photo, name, *sliders]
        changes = [component.change for component in inputs]
        # `preprocess=False`: gradio would open the upload itself, and give no readable error
        how = {"preprocess": False, "concurrency_limit": CONCURRENCY, "concurrency_id": "service"}
        last = {"trigger_mode": "always_last", "api_visibility": "private"}
        gr.on(changes, service.predict_html, inputs, shown, **how, **last)
        button.click(service.predict_json, inputs, data, api_name="caption", **how)
        name.change(lambda name: toy_warning(service, name), name, note, api_visibility="private")
    return page.queue(max_size=MAX_QUEUE)


def slider(key: str) -> gr.Slider:
    """Return the slider of a choice in CONTROLS."""
    control = CONTROLS[key]
    return gr.Slider(
        control.low,
        control.high,
        control.default,
        step=control.step,
        label=control.label,
        info=control.about,
    )


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


def main() -> None:
    parser = argparse.ArgumentParser(description="Open the web page.")
    parser.add_argument(
        "--models", default=HERE / "models", help="folder with a folder for each captioner"
    )
    about = "backbone weights, if not where the encoder files say; repeat for several backbones"
    parser.add_argument("--weights", action="append", help=about)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    about = "data folder whose training photos and their captions help to choose among captions"
    parser.add_argument("--memory", metavar="FOLDER", help=about)
    host = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    about = "who may open it: 127.0.0.1 (default) this computer, 0.0.0.0 the network"
    parser.add_argument("--host", default=host, help=about)
    parser.add_argument("--port", type=int, default=7860, help="%(default)s")
    parser.add_argument("--share", action="store_true", help="create a public address for 72 hours")
    arguments = parser.parse_args()
    with cli_errors(), tempfile.TemporaryDirectory() as folder:
        pairs = find_captioners(arguments.models)
        machine = arguments.weights, arguments.device, get_upload_folder()
        service = CaptionService(pairs, *machine, arguments.memory)
        page = make_page(service, make_examples(folder))
        launch(page, arguments.host, arguments.port, arguments.share)


if __name__ == "__main__":
    main()
