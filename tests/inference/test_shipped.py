"""The captioner of photographs in models/photos, as it is used: on the album, without a network."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import caption as caption_module
from captioning.data.album import album, find
from captioning.data.photos import read_photo
from captioning.inference.attention_maps import attention_maps, views_and_places
from captioning.inference.captioner import Captioner
from captioning.inference.serialization import find_pair, load_part
from captioning.training.monitoring import read_history
from recipes.photos import OPTIONS
from tests.helpers import ROOT

MOST_BYTES = 22_000_000


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return Captioner.load(*find_pair(caption_module.DEFAULT), device="cpu")


def test_it_is_the_default_and_small(captioner):
    files = find_pair(caption_module.DEFAULT)
    assert {file.parent for file in files} == {ROOT / "models" / "photos"}
    assert sum(file.stat().st_size for file in files) <= MOST_BYTES
    assert not captioner.toy_only
    assert (ROOT / "models" / "photos" / "README.md").is_file()


def test_its_files_hold_numbers_and_words_only():
    for part, path in zip(("encoder", "decoder"), find_pair("photos"), strict=True):
        content = load_part(path, part)
        assert {tensor.dtype for tensor in content["state_dict"].values()} == {torch.float16}
        assert "/" not in str(content["config"]), "no place on a machine"


def test_it_is_what_its_recipe_makes_and_its_card_describes(captioner):
    parts = {path.stem: load_part(path, path.stem) for path in find_pair("photos")}
    made = parts["decoder"]["config"] | parts["encoder"]["config"]
    shared = made.keys() & OPTIONS.keys() - {"dropout"}  # none in self-critical training
    assert {"tta", "tta_scale", "image_size", "backbone", "num_layers"} <= shared
    assert {name: made[name] for name in shared} == {name: OPTIONS[name] for name in shared}
    history = read_history(ROOT / "models" / "photos" / "history.csv")
    assert parts["encoder"]["epoch"] == history[-1]["epoch"]
    card = (ROOT / "models" / "photos" / "README.md").read_text(encoding="utf-8")
    [(_, places)] = views_and_places(captioner)
    assert f"attends to {places} places" in card


def test_the_album_is_captioned_with_judgments(cli, capsys):
    assert cli(caption_module.main, "--album", "--json", "--device", "cpu") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(line["file"]) for line in lines] == [photo.path for photo in album()]
    best = {Path(line["file"]).stem: line["captions"][0] for line in lines}
    assert all(len(found["text"].split()) >= 4 for found in best.values())
    assert len({found["text"] for found in best.values()}) > len(best) / 2
    assert "cat" in best["chelsea"]["judgment"]["labels"][0][0].lower()
    assert "espresso" in dict(best["coffee"]["judgment"]["labels"])
    assert not best["coffee"]["judgment"]["is_familiar"]


def test_what_is_not_like_its_photos_is_said(captioner):
    noise = Image.effect_noise((300, 300), 90).convert("RGB")
    [[best]] = captioner.caption([noise])
    assert not best.judgment.is_familiar


def test_its_attention_can_be_drawn(captioner):
    photo = read_photo(find("astronaut").path)
    [[best]] = captioner.caption([photo])
    maps, is_attention = attention_maps(captioner, photo, best.words)
    assert is_attention
    assert len(maps) == len(best.words)


def test_a_command_needs_neither_a_network_nor_a_home(tmp_path):
    command = [sys.executable, str(ROOT / "caption.py"), str(find("chelsea").path)]
    if unshare := shutil.which("unshare"):
        isolated = [unshare, "--map-root-user", "--net"]
        if subprocess.run([*isolated, "true"], capture_output=True).returncode == 0:
            command = [*isolated, *command]
    environment = os.environ | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("chelsea.png\t")
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_caption_is_answered_in_a_sentence(cli, capsys):
    assert cli(caption_module.main) == 2
    assert "name a photo or a folder, or try --album" in capsys.readouterr().err


def test_it_starts_without_what_takes_seconds_to_import():
    code = (
        "import sys, caption; sys.argv = ['caption.py', sys.argv[1]]; caption.main(); "
        "print({'torchvision', 'torch._dynamo', 'matplotlib'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", code, str(find("chelsea").path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr
