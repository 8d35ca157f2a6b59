"""Which captions make a batch: every caption once an epoch, in an order that wastes little.

    bucket_batches(lengths, ...)   captions of similar length together
    photo_batches(...)             the same, a few captions of each photo side by side
    bucket_windows(lengths, ...)   the same, for features on disk: neighbors close together

An order follows from its arguments and the seed alone.
"""

import torch
from torch import Tensor


def bucket_batches(lengths: Tensor, batch_size: int, seed: int, pool: int = 50) -> list[Tensor]:
    """Return batches of caption rows: every caption exactly once, similar lengths together.

    Shuffles the captions, sorts pools of `pool` batches by length, and shuffles the batches.
    Drawing a length for each step instead, as many courses do, repeats some captions and misses
    others.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size} must be 1 or more.")
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(lengths), generator=generator)
    pools = shuffled.split(batch_size * pool)
    rows = torch.cat([part[lengths[part].argsort(stable=True)] for part in pools])
    batches = rows.split(batch_size)
    return [batches[i] for i in torch.randperm(len(batches), generator=generator)]


def photo_batches(
    photo_index: Tensor, lengths: Tensor, batch_size: int, seed: int, together: int
) -> list[Tensor]:
    """Return batches (B, n) of caption rows: every caption once, each row n captions of a photo.

    photo_index, lengths  (N,) of each caption
    together              the largest n; the captions that remain of a photo make a batch of less

    A decoder over all places embeds them, and makes their keys and values, once for the n captions.
    """
    order = photo_index.argsort(stable=True)
    place = torch.arange(len(order))
    place -= torch.searchsorted(photo_index[order], photo_index[order])  # among its photo's
    first = (place % together == 0).nonzero()[:, 0]  # where a group begins
    sizes = torch.diff(first, append=torch.tensor([len(order)]))
    batches: list[Tensor] = []
    for size in sizes.unique().tolist():
        groups = order[first[sizes == size][:, None] + torch.arange(size)]  # (G, n)
        longest, photos = lengths[groups].amax(dim=1), max(1, batch_size // size)
        batches += [groups[chosen] for chosen in bucket_batches(longest, photos, seed)]
    generator = torch.Generator().manual_seed(seed)
    return [batches[i] for i in torch.randperm(len(batches), generator=generator)]


def bucket_windows(
    lengths: Tensor, batch_size: int, seed: int, block_of: Tensor, window: int
) -> list[list[Tensor]]:
    """Return the batches of an epoch in windows, each of which needs a few blocks of features.

    block_of  (N,) for each caption the number of the block that has its photo's features
    window    captions in a window, a multiple of `batch_size`

    Reading a disk in random order takes ten times as long as in sequence. So the blocks are
    shuffled, and then the captions of a few of them: a shuffle buffer, as streams have.
    """
    generator = torch.Generator().manual_seed(seed)
    place = torch.randperm(int(block_of.max()) + 1, generator=generator)  # of each block
    windows = place[block_of].argsort(stable=True).split(window)
    seeds = torch.randint(2**31, (len(windows),), generator=generator).tolist()
    return [
        [rows[batch] for batch in bucket_batches(lengths[rows], batch_size, seed)]
        for rows, seed in zip(windows, seeds, strict=True)
    ]
