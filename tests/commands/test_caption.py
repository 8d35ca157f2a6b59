"""Photos in, captions out: one by one or a folder, from Python and from the command line."""

import csv
import io
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import caption as caption_module
from caption import find_photos
from captioning.data.coco import read_captions
from captioning.data.photos import read_photo
from captioning.inference.captioner import Caption, Captioner
from captioning.inference.sampling import sample
from captioning.models.familiarity import Judgment
from tests.helpers import ROOT, write_data


@pytest.fixture(scope="module")
def captioner(run, weights) -> Captioner:
    return Captioner.load(run / "encoder-2.pkl", run / "decoder-2.pkl", str(weights), "cpu")


@pytest.fixture
def paths(data) -> list:
    return [photo.path for photo in read_captions(data, "train").photos]


@pytest.fixture
def command(run, weights, cli):
    """Return a function that runs caption.py with the run's weights; it returns the exit status."""

    def call(*arguments) -> int | str:
        files = ["--encoder-file", run / "encoder-2.pkl", "--decoder-file", run / "decoder-2.pkl"]
        return cli(caption_module.main, *arguments, *files, "--weights", weights, "--device", "cpu")

    return call


# --- Captioner -------------------------------------------------------------------------------


def test_the_same_photo_gets_the_same_caption_alone_and_among_others(captioner, paths):
    together = captioner.caption(paths)
    assert [captioner.caption([path])[0][0].text for path in paths] == [c[0].text for c in together]
    streamed = list(captioner.caption_stream(paths))
    assert [path for path, _ in streamed] == paths
    assert [found[0].text for _, found in streamed] == [c[0].text for c in together]
    opened = captioner.caption([read_photo(path) for path in paths])
    assert [c[0].text for c in opened] == [c[0].text for c in together]


def test_features_are_those_of_the_encoder(captioner, paths, monkeypatch):
    photos = [read_photo(path) for path in paths]
    images = torch.stack([captioner.transforms[0](photo) for photo in photos])
    with torch.no_grad():
        expected = captioner.encoder(images)
    monkeypatch.setattr(captioner, "backbones", [captioner.encoder.backbone])  # plain float32
    torch.testing.assert_close(captioner.features(photos), expected, atol=1e-4, rtol=1e-4)


def test_n_best_captions_come_with_scores(captioner, paths):
    for found in captioner.caption(paths[:3], beam_size=2, n_best=4):
        assert len(found) == 4
        assert len({c.words for c in found}) == 4
        scores = [c.score for c in found]
        assert scores == sorted(scores, reverse=True)
        assert all(c.logprob <= c.score < 0 for c in found)
        assert all(captioner.vocab.decode(c.words) == c.text for c in found)


def test_sampling_follows_the_seed(captioner, paths):
    draw = {"temperature": 1.5, "n_best": 3}
    found = captioner.caption(paths[:4], seed=1, **draw)
    assert captioner.caption(paths[:4], seed=1, **draw) != captioner.caption(paths[:4], **draw)
    assert [[c.words for c in row] for row in found] == [
        [c.words for c in row] for row in captioner.caption(paths[:4], seed=1, **draw)
    ]
    features = captioner.features([read_photo(path) for path in paths[:4]])
    first = sample(captioner.decoder, features, 1, 1.5)[0].tolist()
    assert [w for w in first if w not in (1, 3)] == list(found[0][0].words)


@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 0}, {"n_best": 0}, {"max_words": 0}, {"alpha": -1}, {"temperature": -1},
        {"n_best": 0, "temperature": 1.0}, {"max_words": 0, "temperature": 1.0},
        {"top_p": 0.0, "temperature": 1.0}, {"top_p": 0.5}, {"top_k": 5},
        {"no_repeat_ngram_size": -1}, {"no_repeat_ngram_size": -1, "temperature": 1.0},
    ],
)  # fmt: skip
def test_impossible_options_are_refused(captioner, paths, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        captioner.caption(paths[:1], **options)


def test_a_folder_continues_after_a_broken_photo(captioner, paths, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(paths[0].read_bytes()[:200])
    found = dict(captioner.caption_stream([paths[0], broken, tmp_path / "none.jpg", paths[1]]))
    assert found[broken].startswith(f"{broken} is broken")
    assert found[tmp_path / "none.jpg"] == f"{tmp_path / 'none.jpg'} is missing."
    assert found[paths[1]][0].text == captioner.caption([paths[1]])[0][0].text
    assert list(captioner.caption_stream([broken])) == [(broken, found[broken])]


PHOTOS = {
    "gray.png": Image.new("L", (40, 30), 99),
    "deep.png": Image.new("I;16", (40, 30), 40_000),
    "cmyk.jpg": Image.new("CMYK", (40, 30)),
    "alpha.png": Image.new("RGBA", (40, 30), (9, 9, 9, 9)),
    "tiny.png": Image.new("RGB", (1, 1)),
    "thin.png": Image.new("RGB", (3000, 1), "red"),
    "huge.jpg": Image.new("RGB", (8000, 8000), "blue"),
}


def test_odd_photos_are_captioned(captioner, tmp_path):
    for name, photo in PHOTOS.items():
        photo.save(tmp_path / name)
    found = dict(captioner.caption_stream([tmp_path / name for name in PHOTOS]))
    assert all(not isinstance(captions, str) for captions in found.values())


# --- which photos ----------------------------------------------------------------------------


def test_find_photos_takes_files_folders_patterns_and_lists(tmp_path, monkeypatch):
    for name in ("b.JPG", "a.png", "c.txt", "odd[1].jpg"):
        (tmp_path / name).touch()
    inside = [tmp_path / name for name in ("a.png", "b.JPG", "odd[1].jpg")]
    assert find_photos([str(tmp_path)]) == inside
    assert find_photos([str(tmp_path / "*.png")]) == inside[:1]
    assert find_photos([str(tmp_path / "odd[1].jpg")]) == inside[2:]  # a name, not a pattern
    assert find_photos([str(tmp_path / "none.jpg")]) == [
        tmp_path / "none.jpg"
    ]  # refused later, when read
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{inside[0]}\n\n{inside[1]}\n"))
    assert find_photos(["-"]) == inside[:2]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty has no photos"):
        find_photos([str(tmp_path / "empty")])
    with pytest.raises(FileNotFoundError, match="no file matches"):
        find_photos([str(tmp_path / "*.bmp")])


# --- the command line ------------------------------------------------------------------------


def test_one_line_a_photo_name_tab_caption(command, captioner, paths, capsys):
    assert command(*paths[:3]) == 0
    expected = [f"{p.name}\t{c[0].text}" for p, c in zip(paths, captioner.caption(paths[:3]))]  # noqa: B905
    assert capsys.readouterr().out.splitlines()[-3:] == expected


def test_a_broken_photo_in_a_folder_stops_nothing(command, tmp_path, capsys):
    folder = write_data(tmp_path) / "images/val2014"
    (folder / "photo_102.jpg").write_bytes(b"")
    assert command(folder, "--beam-size", 1) == 1
    said = capsys.readouterr()
    names = [line.split("\t")[0] for line in said.out.splitlines() if "\t" in line]
    assert names == [f"photo_{i}.jpg" for i in (100, 101, 103, 104, 105)]
    errors = [line for line in said.err.splitlines() if line.startswith("error")]
    assert errors == [f"error: {folder / 'photo_102.jpg'} is empty (0 bytes)."]


def test_results_are_written_for_coco_and_for_spreadsheets(command, data, paths, tmp_path, capsys):
    out, table = tmp_path / "results.json", tmp_path / "new/captions.csv"
    flags = ["--out", out, "--csv", table, "--n-best", 2]
    annotations = data / "annotations/captions_train2014.json"
    assert command(*paths[:4], *flags, "--annotations", annotations) == 0
    printed = [x.split("\t")[1] for x in capsys.readouterr().out.splitlines() if "\t" in x]
    results = json.loads(out.read_text(encoding="utf-8"))
    assert [row["image_id"] for row in results] == [0, 1, 2, 3]
    assert [row["file_name"] for row in results] == [path.name for path in paths[:4]]
    assert [row["caption"] for row in results] == printed[::2]
    with open(table, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["caption"] for row in rows] == printed
    assert [row["rank"] for row in rows] == ["1", "2"] * 4
    assert float(rows[0]["score"]) >= float(rows[1]["score"])
    assert command(paths[0], "--out", out) == 0
    assert json.loads(out.read_text(encoding="utf-8"))[0]["image_id"] == "photo_000"


def test_photos_of_one_stem_in_two_folders_get_two_ids(command, paths, tmp_path):
    for name in ("one/a.jpg", "two/a.jpg", "two/b.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(paths[0].read_bytes())
    out = tmp_path / "results.json"
    assert command(tmp_path / "photos", "--recursive", "--out", out, "--beam-size", 1) == 0
    ids = [row["image_id"] for row in json.loads(out.read_text(encoding="utf-8"))]
    assert ids == ["one/a", "two/a", "b"]


def test_json_lines_and_a_list_from_standard_input(command, paths, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(map(str, paths[:2]))))
    assert command("-", "--json", "--n-best", 2) == 0
    lines = [json.loads(x) for x in capsys.readouterr().out.splitlines() if x.startswith("{")]
    assert [line["file"] for line in lines] == [str(path) for path in paths[:2]]
    assert all(len(line["captions"]) == 2 for line in lines)
    assert {"text", "score", "logprob", "words"} == lines[0]["captions"][0].keys()


def test_toy_weights_warn_on_standard_error(command, paths, capsys):
    command(paths[0])
    assert "only ever seen drawn scenes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--beam-size", 0], "beam_size"),
        (["--alpha", -1], "alpha"),
        (["--n-best", 0], "n_best"),
        (["--max-words", 0], "max_words"),
        (["--temperature", 1, "--top-p", 7], "top_p"),
        (["--top-k", 5], "need a temperature above 0"),
        (["--no-repeat-ngram-size", -1], "no_repeat_ngram_size"),
        (["--device", "tpu"], "no device 'tpu'"),
        (["--annotations", "none.json"], "none.json is missing"),
        (["--encoder-file", "none.pkl", "--decoder-file", "none.pkl"], "none.pkl is missing"),
        (["none*.jpg"], "no file matches none*.jpg"),
    ],
)
def test_mistakes_are_answered_in_a_sentence(
    run, weights, cli, paths, tmp_path, monkeypatch, flags, sentence
):
    monkeypatch.chdir(tmp_path)
    files = ["--encoder-file", run / "encoder-2.pkl", "--decoder-file", run / "decoder-2.pkl"]
    common = [*files, "--weights", weights, "--device", "cpu"]
    photo = [] if "*" in flags[0] else [paths[0]]
    status = cli(caption_module.main, *common, *flags, *photo)
    assert isinstance(status, str)
    assert status.startswith("error: ")
    assert sentence in status
    assert "\n" not in status


def test_a_captioner_is_named_by_its_folder(run, weights, cli, paths, capsys):
    common = (caption_module.main, paths[0], "--weights", weights, "--device", "cpu")
    assert cli(*common, "--captioner", run) == 0
    by_folder = capsys.readouterr().out
    files = ["--encoder-file", run / "best/encoder.pkl", "--decoder-file", run / "best/decoder.pkl"]
    assert cli(*common, *files) == 0
    assert capsys.readouterr().out == by_folder
    assert "no captioner in nothing" in cli(*common, "--captioner", "nothing")
    assert "they are a pair" in cli(*common, *files[:2])


def test_an_unfamiliar_photo_is_noted_beside_its_caption(capsys):
    labels = (("espresso", 0.9), ("cup", 0.05))
    for is_familiar, noted in ((True, ""), (False, "sees: espresso, cup")):
        judgment = Judgment(-9.0, is_familiar, labels)
        captions = [Caption("a dog runs", -1.0, -4.0, (4, 5, 6), judgment)]
        caption_module.print_captions(Path("cup.jpg"), captions, as_json=False, whole_path=False)
        printed = capsys.readouterr()
        assert printed.out == "cup.jpg\ta dog runs\n"
        assert noted in printed.err
        assert bool(printed.err) != is_familiar
        caption_module.print_captions(Path("cup.jpg"), captions, as_json=True, whole_path=False)
        [record] = json.loads(capsys.readouterr().out)["captions"]
        assert record["judgment"]["is_familiar"] is is_familiar
        assert record["trust"] == captions[0].trust == pytest.approx(-9.0 - 4.0 + math.log(0.01))


def test_as_a_command_there_is_no_traceback(run, weights, paths, tmp_path):
    files = ["--encoder-file", run / "encoder-2.pkl", "--decoder-file", run / "decoder-2.pkl"]
    command = [sys.executable, ROOT / "caption.py", paths[0], tmp_path / "none.jpg", *files]
    done = subprocess.run(
        [*map(str, command), "--weights", str(weights)],
        capture_output=True, text=True, encoding="utf-8", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.startswith("photo_000.jpg\t")
    assert done.stdout.count("\n") == 1
    assert f"error: {tmp_path / 'none.jpg'} is missing." in done.stderr
    assert "Traceback" not in done.stderr
