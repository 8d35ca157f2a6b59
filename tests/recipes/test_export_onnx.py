"""The exported graphs against PyTorch, step by step and caption by caption."""

import json

import numpy as np
import pytest
import torch

from model import EncoderCNN, EncoderGroup
from tests.helpers import EMBED, VOCAB, make, random_features

pytest.importorskip("onnxscript", reason="needs requirements-extra.txt")
pytest.importorskip("onnxruntime", reason="needs requirements-extra.txt")

import onnxruntime

from captioning.data.photos import PhotoTransform, read_photo
from captioning.inference.search import greedy
from recipes.export_onnx import MIN_TORCH, Start, export, write_graph
from recipes.onnx_caption import OnnxCaptioner
from vocabulary import Vocabulary

new_enough = pytest.mark.skipif(
    tuple(int(part) for part in torch.__version__.split(".")[:2]) < MIN_TORCH,
    reason="needs a newer exporter",
)
WORDS = Vocabulary.build([["a", "dog", "'s", "red", "ball"]], vocab_threshold=1)


def test_an_older_exporter_is_refused(encoder, monkeypatch, tmp_path):
    monkeypatch.setattr(torch, "__version__", "2.11.0+cu130")
    with pytest.raises(ValueError, match=r"needs torch 2\.14 or newer, not 2\.11\.0"):
        export(encoder, make("lstm", len(WORDS)), WORDS, tmp_path / "small.onnx")
    assert not list(tmp_path.iterdir())


def test_several_backbones_are_refused(both, tmp_path):
    group = EncoderGroup([EncoderCNN(EMBED, weights=path) for path in both])
    with pytest.raises(ValueError, match="the export is of one backbone"):
        export(group, make("lstm", len(WORDS)), WORDS, tmp_path / "small.onnx")


@new_enough
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_captions_are_those_of_pytorch(kind, encoder, data, tmp_path):
    decoder = make(kind, len(WORDS), scale=1.5)
    files = export(encoder, decoder, WORDS, tmp_path / "small.onnx")
    assert [path.name for path in files] == ["small.onnx", "small.step.onnx", "small.json"]
    about = json.loads(files[2].read_text(encoding="utf-8"))
    assert about["words"] == WORDS.words
    captioner, transform = OnnxCaptioner(files[0]), PhotoTransform(**encoder.backbone.transform)
    said = set()
    for path in sorted((data / "images" / "val2014").glob("*.jpg")):
        image = captioner.read(path)
        level = 1 / 255 / min(transform.std)  # Pillow's and torchvision's rounding may differ
        assert np.abs(image - transform(read_photo(path))[None].numpy()).max() < 1.01 * level
        with torch.inference_mode():
            features = encoder(torch.from_numpy(image))
        wanted = WORDS.decode(greedy(decoder, features, 20)[0].tolist())
        assert captioner.caption(path) == wanted
        said.add(wanted)
    assert said != {""}

    images = torch.randn(5, 3, transform.crop, transform.crop)  # other sizes than it was traced at
    with torch.inference_mode():
        state = Start(encoder, decoder)(images)
    found = captioner.start.run(None, {"images": images.numpy()})
    for word in ([0] * 5, [4, 5, 6, 7, 8], [1] * 5):
        with torch.inference_mode():
            logits, state, _ = decoder.step(torch.tensor(word), state)
        inputs = {f"state_{i}": part for i, part in enumerate(found)}
        found_logits, *found = captioner.step.run(None, inputs | {"word": np.array(word)})
        np.testing.assert_allclose(found_logits, logits.numpy(), atol=2e-4)


@new_enough
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gru", "attention"])
def test_the_other_decoders_can_be_exported_too(kind, tmp_path):
    decoder, features = make(kind), random_features(3)

    class Heart(torch.nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return decoder.step(torch.zeros(len(features)).long(), decoder.start(features))[0]

    path, batch = tmp_path / "heart.onnx", ({0: torch.export.Dim.DYNAMIC},)
    write_graph(path, Heart(), (features,), ["features"], ["logits"], batch)
    other = random_features(4, seed=9)
    found = onnxruntime.InferenceSession(path).run(None, {"features": other.numpy()})[0]
    with torch.no_grad():
        np.testing.assert_allclose(found, Heart()(other).numpy(), atol=1e-4)
    assert found.shape == (4, VOCAB)
