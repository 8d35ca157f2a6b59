"""Features larger than memory: read in windows of neighbors, every caption once, each its own."""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch

from captioning import distributed
from captioning.data.batching import bucket_windows
from captioning.features import reading
from captioning.features.reading import ConcatenatedFeatures, plan_windows, read_windows

PHOTOS, VIEWS, BATCH = 300, 3, 8


@pytest.fixture
def features(monkeypatch) -> ConcatenatedFeatures:
    """300 photos in five shards; the numbers of a row are its photo and its view."""
    array = np.zeros((PHOTOS, VIEWS, 1, 2), np.float16)
    array[..., 0], array[..., 1] = np.indices((PHOTOS, VIEWS))[..., None]
    monkeypatch.setattr(reading, "WINDOW", 64 * array[0].nbytes)  # 64 photos: blocks of two
    cache = SimpleNamespace(shards=np.split(array, [70, 140, 210, 280]))
    return ConcatenatedFeatures([cache], torch.device("cpu"))


class Captions(NamedTuple):
    photo_index: torch.Tensor
    lengths: torch.Tensor


@pytest.fixture
def captions() -> Captions:
    """Five captions for each photo but the last two, of 4 to 19 words."""
    photo_index = torch.arange(PHOTOS - 2).repeat_interleave(5)
    generator = torch.Generator().manual_seed(0)
    return Captions(photo_index, torch.randint(4, 20, (len(photo_index),), generator=generator))


def test_every_caption_comes_once_in_a_window_of_few_blocks(features, captions):
    windows = plan_windows(features, *captions, BATCH, 1, 0)
    batches = [rows for window in windows for rows in window]
    assert sorted(torch.cat(batches).tolist()) == list(range(len(captions.lengths)))
    assert [len(rows) for rows in batches].count(BATCH) >= len(batches) - 1
    assert len(batches) == -(-len(captions.lengths) // BATCH)
    for window in windows:
        blocks = (captions.photo_index[torch.cat(window)] // 2).unique()
        assert len(blocks) <= 34
        spread = blocks.float().std()
        assert spread > 20, "a window mixes blocks from everywhere"
    other = plan_windows(features, *captions, BATCH, 2, 0)
    assert not torch.equal(torch.cat(other[0]), torch.cat(windows[0]))


def test_captions_of_a_batch_have_similar_lengths(features, captions):
    def spread(batches) -> float:
        return sum(
            float(captions.lengths[rows].max() - captions.lengths[rows].min()) for rows in batches
        )

    windows = plan_windows(features, *captions, BATCH, 1, 0)
    batches = [rows for window in windows for rows in window]
    shuffled = torch.randperm(len(captions.lengths), generator=torch.Generator().manual_seed(0))
    assert spread(batches) < spread(shuffled.split(BATCH)) / 3


@pytest.mark.parametrize("world_size", [1, 3])
def test_each_caption_has_the_features_of_its_photo_and_view(
    features, captions, monkeypatch, world_size
):
    views = torch.randint(
        VIEWS, (len(captions.lengths),), generator=torch.Generator().manual_seed(3)
    )
    windows = plan_windows(features, *captions, BATCH, 1, 0)
    monkeypatch.setattr(distributed, "world_size", lambda: world_size)
    for rank in range(world_size):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        found = list(read_windows(features, captions.photo_index, views, windows))
        assert len(found) == -(-len(captions.lengths) // BATCH)
        for rows, grid in found:
            mine = rows[rank::world_size]
            expected = torch.stack([captions.photo_index[mine], views[mine]], dim=1)
            assert torch.equal(grid[:, 0].long(), expected)


@pytest.mark.parametrize("first", [0, 1, 39, 40, 41, 186, 187])
def test_an_epoch_may_begin_at_any_batch(features, captions, first):
    def batches(first) -> list[list[int]]:
        windows = plan_windows(features, *captions, BATCH, 5, first)
        return [rows.tolist() for window in windows for rows in window]

    assert batches(first) == batches(0)[first:]


def test_the_order_is_random_unless_the_features_exceed_the_memory(features, monkeypatch, capsys):
    monkeypatch.setattr(reading, "free_memory", lambda: 2.0 * features.nbytes)
    assert reading.feature_order(features) == "random"
    assert not capsys.readouterr().out
    monkeypatch.setattr(reading, "free_memory", lambda: 0.9 * features.nbytes)
    assert reading.feature_order(features) == "shards"
    line = (
        "the features (0.0 GB) do not fit into memory (0.0 GB free): photos are read shard by shard"
    )
    assert capsys.readouterr().out == f"{line}\n"


def test_one_window_of_everything_is_a_shuffled_epoch():
    lengths = torch.full((40,), 5)
    [window] = bucket_windows(lengths, 4, 0, torch.arange(40) // 10, 40)
    assert sorted(torch.cat(window).tolist()) == list(range(40))
    assert torch.cat(window).tolist() != list(range(40))
