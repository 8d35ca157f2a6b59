"""Captions -> batches: every caption once an epoch, padded, with images of the same row."""

import json
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from captioning.data.annotations import MAX_CAPTION_WORDS
from captioning.data.coco import read_captions
from captioning.data.photos import PhotoTransform
from data_loader import PackedCaptions, bucket_batches, get_loader
from tests.helpers import write_data
from vocabulary import Vocabulary, tokenize

small = PhotoTransform(resize=40, crop=32)
small_train = PhotoTransform(resize=40, crop=32, train=True)


def all_captions(loader) -> Counter:
    return Counter(
        loader.dataset.vocab.decode(caption.tolist()) for _, batch in loader for caption in batch
    )


# --- packing and batches ---------------------------------------------------------------------

some_captions = st.lists(st.lists(st.sampled_from("abcdef"), max_size=7), min_size=1, max_size=20)


@examples(deadline=None, max_examples=60, derandomize=True)
@given(some_captions, st.randoms(use_true_random=False))
def test_a_packed_batch_is_each_caption_padded(captions, rng):
    vocab = Vocabulary.build([*captions, ["a"]], 1)
    packed = PackedCaptions(captions, [0] * len(captions), vocab)
    rows = [rng.randrange(len(captions)) for _ in range(5)]
    expected = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(vocab.encode(captions[row])) for row in rows], True, float(vocab.pad)
    )
    assert torch.equal(packed.batch(torch.tensor(rows)), expected.long())


def test_a_very_long_caption_is_cut_with_a_note(capsys):
    captions = [["a", "dog"] * 2500, ["a", "cat"], ["dog"] * MAX_CAPTION_WORDS]
    vocab = Vocabulary.build(captions, 1)
    packed = PackedCaptions(captions, [0, 0, 1], vocab)
    batch = packed.batch(torch.arange(3))
    assert batch.shape == (3, MAX_CAPTION_WORDS + 2)
    assert batch[0].tolist() == [vocab.start, *vocab.encode(captions[0])[1:101], vocab.pad]
    assert batch[2].tolist() == vocab.encode(captions[2]), "a caption of the limit is whole"
    assert packed.lengths.tolist() == [101, 4, 102]
    note = "note: 1 caption is longer than 100 words; the rest is left out\n"
    assert capsys.readouterr().out in (note, "")  # once a process
    assert PackedCaptions(captions, [0] * 3, vocab, max_words=1).lengths.tolist() == [2, 2, 2]


@examples(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(st.integers(2, 30), min_size=1, max_size=300), st.integers(1, 40), st.integers(0))
def test_every_caption_is_in_exactly_one_batch(lengths, batch_size, seed):
    lengths = torch.tensor(lengths)
    batches = bucket_batches(lengths, batch_size, seed % 2**31, pool=3)
    assert sorted(torch.cat(batches).tolist()) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // batch_size)
    assert sum(len(b) < batch_size for b in batches) <= 1
    again = bucket_batches(lengths, batch_size, seed % 2**31, pool=3)
    assert all(torch.equal(a, b) for a, b in zip(batches, again, strict=True))


def test_lengths_in_a_batch_are_similar_and_epochs_differ():
    lengths = torch.randint(5, 25, (4000,), generator=torch.Generator().manual_seed(0))
    batches = bucket_batches(lengths, 50, seed=1)
    padding = sum(int((lengths[b].max() - lengths[b]).sum()) for b in batches)
    assert padding < 0.02 * lengths.sum()  # batches in random order waste 60 %
    means = torch.tensor([lengths[b].float().mean() for b in batches])
    assert (means.diff() > 0).float().mean() < 0.7  # short and long ones take turns
    other = bucket_batches(lengths, 50, seed=2)
    assert not torch.equal(torch.cat(batches), torch.cat(other))


def test_batch_size_below_one_is_refused():
    with pytest.raises(ValueError, match="batch_size"):
        bucket_batches(torch.tensor([3, 4]), 0, 0)


# --- get_loader ------------------------------------------------------------------------------


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_caption_once_in_every_epoch_and_every_epoch_is_new(data, tmp_path, num_workers):
    loader = get_loader(
        small_train, "train", 7, 1, tmp_path / "vocab.json",
        cocoapi_loc=data, num_workers=num_workers,
    )  # fmt: skip
    vocab = Vocabulary.load(tmp_path / "vocab.json")
    captions = read_captions(data, "train").captions
    expected = Counter(vocab.decode(vocab.encode(caption)) for caption in captions)
    first, second = ([caption for _, batch in loader for caption in batch] for _ in range(2))
    assert len(loader) == 6
    for epoch in (first, second):
        assert Counter(vocab.decode(caption.tolist()) for caption in epoch) == expected
    assert [c.tolist() for c in first] != [c.tolist() for c in second]


def test_workers_change_nothing(data, tmp_path):
    def batches(num_workers):
        loader = get_loader(
            small_train, "train", 10, 1, tmp_path / "vocab.json", "<start>", "<end>", "<unk>",
            False, num_workers, data, seed=5,
        )  # fmt: skip
        return list(loader) + list(loader)

    for (images, captions), (other_images, other_captions) in zip(
        batches(0), batches(2), strict=True
    ):
        assert torch.equal(images, other_images)
        assert torch.equal(captions, other_captions)


def test_a_training_batch_is_images_and_padded_ids(data, tmp_path):
    loader = get_loader(
        small_train, batch_size=36, vocab_threshold=1, cocoapi_loc=data,
        vocab_file=tmp_path / "vocab.json",
    )  # fmt: skip
    images, captions = next(iter(loader))
    assert images.shape == (36, 3, 32, 32)
    assert images.dtype == torch.float32
    assert captions.dtype == torch.long
    assert (captions[:, 0] == Vocabulary.start).all()
    ends = (captions == Vocabulary.end).int()
    assert (ends.sum(dim=1) == 1).all()
    padding = captions == Vocabulary.pad
    assert torch.equal(padding, ends.cumsum(dim=1) - ends > 0)  # after <end>, and only there
    assert not padding.all(dim=0).any()  # no wider than the longest


def test_the_vocabulary_is_built_saved_and_read(data, tmp_path):
    file = tmp_path / "vocab.json"
    loader = get_loader(
        small, vocab_threshold=12, vocab_file=file, cocoapi_loc=data,
        start_word="<s>", end_word="</s>", unk_word="<?>",
    )  # fmt: skip
    words = [w for c in read_captions(data, "train").captions for w in tokenize(c)]
    frequent = {w for w, count in Counter(words).items() if count >= 12}
    assert loader.dataset.vocab.words[:4] == ["<s>", "</s>", "<?>", "<pad>"]
    assert set(loader.dataset.vocab.words[4:]) == frequent
    assert 0 < len(frequent) < len(set(words))
    again = get_loader(small, vocab_file=file, vocab_from_file=True, cocoapi_loc=data)
    assert again.dataset.vocab.words == loader.dataset.vocab.words
    with pytest.raises(FileNotFoundError, match=r"none\.json is missing"):
        get_loader(small, vocab_file=tmp_path / "none.json", vocab_from_file=True, cocoapi_loc=data)


def test_num_samples_counts_photos(data, tmp_path):
    loader = get_loader(
        small, batch_size=100, vocab_threshold=1, vocab_file=tmp_path / "vocab.json",
        cocoapi_loc=data, num_samples=2,
    )  # fmt: skip
    assert len(loader.dataset) == 6
    assert len(get_loader(small, "val", cocoapi_loc=data, num_samples=2).dataset) == 2


def test_val_yields_each_photo_once_in_order_with_all_its_captions(data):
    captions = read_captions(data, "val")
    images, references, ids = zip(*get_loader(small, "val", 4, cocoapi_loc=data), strict=True)
    assert [len(part) for part in images] == [4, 2]
    assert [i for part in ids for i in part] == [photo.id for photo in captions.photos]
    assert [r for part in references for r in part] == list(captions.references().values())
    again = next(iter(get_loader(small, "val", 4, cocoapi_loc=data, num_workers=2)))
    assert torch.equal(images[0], again[0])  # the same photo, the same tensor


def test_test_needs_no_captions(tmp_path):
    root = write_data(tmp_path)
    images = json.loads((root / "annotations/captions_val2014.json").read_text())["images"]
    (root / "annotations/image_info_test2014.json").write_text(json.dumps({"images": images}))
    (root / "images/val2014").rename(root / "images/test2014")
    _, references, ids = next(iter(get_loader(mode="test", batch_size=9, cocoapi_loc=root)))
    assert references == [[]] * 6
    assert ids == [100, 101, 102, 103, 104, 105]


def test_a_transform_of_ones_own(data, tmp_path):
    def gray(photo):
        return torch.full((1, 5, 5), photo.size[0])

    vocab_file = tmp_path / "vocab.json"
    images, _ = next(iter(get_loader(gray, batch_size=3, cocoapi_loc=data, vocab_file=vocab_file)))
    assert images.shape == (3, 1, 5, 5)
    assert (images == 60).all()


def test_unknown_mode_is_refused(data):
    with pytest.raises(ValueError, match="mode is train, val or test, not 'valid'"):
        get_loader(mode="valid", cocoapi_loc=data)
