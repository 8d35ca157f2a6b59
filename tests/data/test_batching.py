"""Which captions make a batch (captioning/data/batching.py)."""

import torch

from captioning.data.batching import photo_batches


def test_photo_batches_hold_every_caption_once_and_one_photo_a_row():
    photo_index = torch.tensor([0, 2, 1, 0, 2, 0, 0, 2, 1, 0, 3])  # 5, 2, 3 and 1 captions
    lengths = torch.arange(5, 16)
    batches = photo_batches(photo_index, lengths, batch_size=6, seed=0, together=3)
    assert sorted(torch.cat([batch.flatten() for batch in batches]).tolist()) == list(range(11))
    for batch in batches:
        assert batch.numel() <= 6
        assert all(len(set(photo_index[row].tolist())) == 1 for row in batch)
    sizes = sorted(len(row) for batch in batches for row in batch)
    assert sizes == [1, 2, 2, 3, 3]  # photo 0: 3 + 2; photo 1: 2; photo 2: 3; photo 3: 1


def test_photo_batches_put_photos_of_similar_length_together():
    generator = torch.Generator().manual_seed(0)
    photo_index = torch.arange(400) // 5
    lengths = torch.randint(5, 25, (400,), generator=generator)
    batches = photo_batches(photo_index, lengths, batch_size=20, seed=0, together=5)
    assert all(batch.shape == (4, 5) for batch in batches)
    spread = [longest.max() - longest.min() for b in batches for longest in [lengths[b].amax(1)]]
    assert sum(spread) / len(spread) < 2
    others = photo_batches(photo_index, lengths, batch_size=20, seed=1, together=5)
    assert not all(a.equal(b) for a, b in zip(batches, others, strict=True))
