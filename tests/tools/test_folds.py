"""benchmarks/folds.py: training photos that are held out, and features that serve every fold."""

from benchmarks.folds import hold_out
from captioning.data.coco import read_captions
from captioning.features.extraction import extract_features
from model import EncoderCNN
from tests.helpers import EMBED


def test_folds_hold_out_every_photo_once_and_share_their_features(data, weights, tmp_path):
    encoder = EncoderCNN(EMBED, weights=str(weights))
    features = {"out": tmp_path / "features", "device": "cpu", "precision": "float32"}
    everything = read_captions(data, "train")
    expected = extract_features(encoder, everything, **features)
    held_out = []
    for fold in range(3):
        out = tmp_path / f"fold{fold}"
        hold_out(data, out, fold, folds=3)
        train, val = read_captions(out, "train"), read_captions(out, "val")
        taught = {i for i, texts in train.references().items() if texts}
        held_out += [photo.id for photo in val.photos]
        assert taught == {photo.id for photo in everything.photos} - {p.id for p in val.photos}
        references = train.references() | val.references()
        assert references == everything.references()
        found = extract_features(encoder, train, **features)
        assert found.folder == expected.folder
    assert sorted(held_out) == sorted(photo.id for photo in everything.photos)
