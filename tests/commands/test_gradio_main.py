"""The web page: by a program that calls it, and in a real browser where there is one."""

import contextlib
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

pytest.importorskip("gradio", reason="needs requirements-extra.txt")

import httpx
from gradio_client import handle_file

import gradio_main
from captioning.data.photos import read_photo
from captioning.inference.captioner import Captioner
from captioning.page.catalog import find_captioners, title
from captioning.page.service import CONTROLS, CaptionService
from gradio_main import get_upload_folder, launch, make_page
from tests.page_client import ANSWER_WITHIN, PageClient
from vocabulary import Vocabulary

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory) -> Path:
    """Return a folder with the run's best pair, `<end>` made less likely: its captions are longer.

    After training this short, `<end>` is often the most likely first word.
    """
    folder = tmp_path_factory.mktemp("talkative")
    shutil.copy(run / "best" / "encoder.pkl", folder)
    content = torch.load(run / "best" / "decoder.pkl", weights_only=True)
    content["state_dict"]["output.bias"][Vocabulary.end] -= 2
    torch.save(content, folder / "decoder.pkl")
    return folder


@pytest.fixture(scope="module")
def captioner(folder, weights) -> Captioner:
    return Captioner.load(*find_captioners(folder)[folder.name], str(weights), "cpu")


@pytest.fixture(scope="module")
def address(folder, weights, tmp_path_factory) -> Iterator[str]:
    """Serve the page from this process until the tests of this file are over; yield its address."""
    examples = gradio_main.make_examples(str(tmp_path_factory.mktemp("examples")))
    pairs = find_captioners(folder)
    page = make_page(CaptionService(pairs, str(weights), "cpu", get_upload_folder()), examples)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    yield launch(page, "127.0.0.1", port, wait=False)
    page.close()


@pytest.fixture(scope="module")
def client(address) -> Iterator[PageClient]:
    with contextlib.closing(PageClient(address)) as client:
        yield client


@pytest.fixture
def ask(client, folder):
    """Return a function that sends a photo to the page and returns the answer."""
    return lambda photo, name=folder.name, **options: client.ask(photo, name, **options)


def photos_of(data: Path) -> list[Path]:
    return sorted((data / "images" / "val2014").glob("*.jpg"))


def test_a_broken_captioner_is_left_out(run, weights, tmp_path, capsys):
    broken = tmp_path / "encoder.pkl", tmp_path / "decoder.pkl"
    for path in broken:
        path.write_bytes(b"nothing")
    pairs = {"broken": broken} | find_captioners(run)
    assert CaptionService(pairs, str(weights), "cpu", tmp_path).default == run.name
    assert "broken is left out" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no captioner could be loaded"):
        CaptionService({"broken": broken}, None, "cpu", tmp_path)


def test_answers_are_those_of_the_captioner(ask, captioner, data):
    for path in photos_of(data):
        for beam_size in (1, 4):
            said = ask(path, beam_size=beam_size)["captions"]
            photo = read_photo(path, captioner.min_side)
            [wanted] = captioner.caption([photo], beam_size, n_best=beam_size)
            assert [caption["text"] for caption in said] == [caption.text for caption in wanted]
            assert [caption["score"] for caption in said] == pytest.approx(
                [caption.score for caption in wanted], abs=1e-4
            )


# Choices; without the last one of each, other captions come out.
ADVANCED = [
    {"beam_size": 40, "alpha": 2.0},
    {"beam_size": 4, "temperature": 1.5},
    {"beam_size": 4, "temperature": 1.5, "seed": 9},
    {"beam_size": 4, "temperature": 3, "top_k": 2},
    {"beam_size": 4, "temperature": 3, "top_p": 0.05},
    {"beam_size": 4, "no_repeat_ngram_size": 1},
    {"beam_size": 4, "temperature": 3, "no_repeat_ngram_size": 1},
]


@pytest.mark.parametrize("options", ADVANCED)
def test_every_choice_reaches_the_search(ask, captioner, data, options):
    path, last = photos_of(data)[0], list(options)[-1]
    said = [caption["text"] for caption in ask(path, **options)["captions"]]
    [wanted] = captioner.caption([path], n_best=options["beam_size"], **options)
    assert said == [caption.text for caption in wanted]
    assert len(said) == options["beam_size"]
    without = {key: value for key, value in options.items() if key != last}
    [others] = captioner.caption([path], n_best=options["beam_size"], **without)
    assert said != [caption.text for caption in others], f"{last} changes nothing for this photo"


def test_random_captions_have_no_score_which_json_calls_null(ask, data):
    [caption] = ask(photos_of(data)[0], beam_size=1, temperature=1.5)["captions"]
    assert caption["score"] is None
    assert caption["logprob"] is None


def test_random_captions_are_shown_without_a_score(folder, weights, data):
    photo = photos_of(data)[0]
    service = CaptionService(find_captioners(folder), str(weights), "cpu", photo.parent)
    defaults = {key: control.default for key, control in CONTROLS.items()}

    def shown(**options: float) -> str:
        choices = (defaults | options).values()
        return service.predict_html({"path": str(photo)}, folder.name, *choices)

    assert "score" in shown()
    drawn = shown(temperature=1.5)
    assert drawn.count("<li>") == 2
    assert "score" not in drawn
    assert "nan" not in drawn
    assert "temperature above 0" in shown(top_k=3)
    assert 'role="alert"' in shown(top_k=3)


def test_calls_of_programs_that_know_four_inputs_still_work(address, client, folder, data):
    upload = client.client.submit(handle_file(photos_of(data)[0]), folder.name, 3, 0.7)
    wanted = client.ask(photos_of(data)[0], folder.name)
    assert upload.result(timeout=ANSWER_WITHIN) == wanted
    sent = httpx.post(
        f"{address}gradio_api/upload",
        files={"files": ("photo.jpg", photos_of(data)[0].read_bytes())},
        timeout=ANSWER_WITHIN,
    )
    photo = {"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}}
    assert wanted["captions"][0]["text"] in call(address, photo, folder.name), "without a client"


def test_the_page_lists_titles_and_takes_names(client, folder):
    [name, *numbers] = client.client.view_api(return_format="dict")["named_endpoints"]["/caption"][
        "parameters"
    ][1:]
    assert name["parameter_default"] == folder.name
    assert [number["parameter_name"] for number in numbers] == list(CONTROLS)
    assert [number["parameter_default"] for number in numbers] == [
        control.default for control in CONTROLS.values()
    ]
    choices = [
        component["props"]["choices"]
        for component in client.client.config["components"]
        if component["type"] == "dropdown"
    ]
    pair = find_captioners(folder)[folder.name]
    assert choices == [[[title(folder.name, pair), folder.name]]]


def bad_files(folder: Path) -> dict[Path, str]:
    """Return uploads that are not photos, and words of the sentence that each should get."""
    empty, text, half, huge = (folder / f"{name}.jpg" for name in ("empty", "text", "half", "huge"))
    empty.touch()
    text.write_text("I am a photo, honestly.", encoding="utf-8")
    Image.effect_noise((90, 90), 50).save(half)
    half.write_bytes(half.read_bytes()[:700])
    Image.new("1", (20_000, 20_000)).save(huge, "PNG")
    return {empty: "empty", text: "not a photo", half: "broken", huge: "shrink"}


def test_a_bad_upload_gets_a_sentence_and_the_next_photo_its_caption(ask, data, tmp_path):
    for path, word in bad_files(tmp_path).items():
        answer = ask(path)
        assert word in answer["error"], answer
        assert path.name in answer["error"], answer
        assert str(path.parent.parent) not in answer["error"], "no paths of the server"
        assert "captions" in ask(photos_of(data)[0])


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"beam_size": 0}, "beam"),
        ({"beam_size": 10**9}, "beam"),
        ({"beam_size": "3"}, "beam"),
        ({"alpha": -1}, "alpha"),
        ({"alpha": None}, "alpha"),
        ({"beam_size": 2.5}, "beam"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_k": 10**9, "temperature": 1}, "top-k"),
        ({"top_k": 5}, "temperature above 0"),
        ({"top_p": 0.5}, "temperature above 0"),
        ({"top_p": 0, "temperature": 1}, "top-p"),
        ({"no_repeat_ngram_size": -1}, "repeats"),
        ({"seed": True}, "seed"),
        ({"name": "../.."}, "captioner"),
    ],
)
def test_what_no_slider_sends_is_refused(ask, data, asked, word):
    error = ask(photos_of(data)[0], **asked)["error"]
    assert word in error.lower()
    assert error.endswith(".")
    assert "\n" not in error


def call(address: str, *inputs) -> str:
    """Return what the server answers to a request that no well-meaning client would send."""
    url, deadline = f"{address}gradio_api/call/caption", time.monotonic() + ANSWER_WITHIN
    asked = httpx.post(url, json={"data": [*inputs, 3, 0.7]}, timeout=ANSWER_WITHIN)
    lines = []
    with httpx.stream("GET", f"{url}/{asked.json()['event_id']}", timeout=ANSWER_WITHIN) as stream:
        for line in stream.iter_lines():  # a heartbeat every 15 s, if nothing else
            lines.append(line)
            assert time.monotonic() < deadline, "no answer"
    return "\n".join(lines)


def test_nothing_outside_the_uploads_can_be_read(address, folder, data):
    secret = str(photos_of(data)[0])
    for place in (secret, "../" * 9 + secret, str(gradio_main.HERE / "LICENSE")):
        answer = httpx.get(f"{address}gradio_api/file={place}", timeout=ANSWER_WITHIN)
        assert answer.status_code in (403, 404), place
        for photo in ({"path": place, "meta": {"_type": "gradio.FileData"}}, {"path": place}):
            said = call(address, photo, folder.name)
            assert "event: error" in said or "not one of your uploads" in said, said
            assert "captions" not in said, said


def test_two_files_of_one_name_are_not_mixed_up(ask, captioner, tmp_path):
    for number, color in enumerate([(220, 40, 40), (50, 70, 220)]):
        path = tmp_path / str(number) / "photo.png"
        path.parent.mkdir()
        Image.new("RGB", (60, 50), color).save(path)
        [[wanted]] = captioner.caption([read_photo(path)])
        assert ask(path)["captions"][0]["text"] == wanted.text


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no browser here: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs requirements-extra.txt")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    quiet += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield browser
        browser.close()


def choose(page, slider, number, effect):
    """Type `number` until its `effect` is seen.

    Once, on a busy machine, the page never answered a number typed right after a panel had opened:
    probably gradio was still building the field.
    """
    from playwright.sync_api import TimeoutError

    field = page.get_by_label(f"number input for {slider}")
    before = field.input_value()
    for attempt in range(6):
        field.fill(before)
        field.fill(str(number))
        field.blur()
        try:
            return effect.wait_for(timeout=20_000)
        except TimeoutError:
            if attempt == 5:
                raise


def test_in_a_browser(browser, address, captioner, data, tmp_path):
    """Upload a photo, see the caption; move the slider, see more; upload a text, see why not."""
    page = browser.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    upload = page.locator("#photo input[type=file]")
    [[best]] = captioner.caption(photos_of(data)[:1])
    upload.set_input_files(photos_of(data)[0])
    page.locator(".best").wait_for(timeout=60_000)
    assert page.locator(".best").inner_text().lower().startswith(best.text)
    assert page.locator(".others li").count() == 2
    assert "drawn scenes" in page.locator(".note").inner_text(), "they have never seen photos"

    page.get_by_label(best.text.split()[-1]).last.check(force=True)
    veil = page.locator(".stage input:checked ~ img")
    veil.wait_for()
    box, below = veil.bounding_box(), page.get_by_alt_text("the photo").bounding_box()
    assert all(abs(box[side] - below[side]) < 1 for side in box), "the veil lies on the photo"

    choose(page, "Beam size", 5, page.locator(".others li").nth(3))

    page.get_by_role("button", name="Advanced").click()
    choose(page, "Top-k", 5, page.get_by_role("alert"))
    assert "temperature above 0" in page.get_by_role("alert").inner_text()
    choose(page, "Temperature", 1, page.locator(".best"))
    assert "score" not in page.locator(".best").inner_text()

    page.get_by_label("Remove Image").click()
    page.locator(".invitation").wait_for()
    text = tmp_path / "holiday.jpg"
    text.write_text("I am a photo, honestly.", encoding="utf-8")
    upload.set_input_files(text)
    page.get_by_role("alert").wait_for(timeout=60_000)
    assert "holiday.jpg is not a photo" in page.get_by_role("alert").inner_text()
    page.close()
    elsewhere = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert not elsewhere, "the page loads nothing from another address"
