"""Fewer numbers for each place: principal component analysis of what the frozen network says.

    python train.py --pca 512 ...   keeps 512 of ResNet-50's 2,048 numbers for each place

A grid of 49 x 2,048 half-precision numbers is 200 kB a photo, 17 GB for COCO. Channels repeat each
other in part: the directions in which the grid varies most hold more than their share of it. How
much, training prints; on Flickr8k it is 77 % in a quarter of the bytes and 90 % in half of them.
Turning to other axes and leaving some out is a linear map, so it becomes the network's last layer,
a 1 x 1 convolution, and nothing else in the course needs to know.

    fit(encoder, dataset, out)   sets that layer from a sample of photos, once; kept in `out`

Hotelling 1933; why it suits frozen features: Jegou & Chum 2012, "Negative evidences and
co-occurrences in image retrieval: the benefit of PCA and whitening".
"""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import distributed
from backbones import as_grid
from data_loader import CaptionSet, Photo
from distrust import BROKEN
from features import describe, transform_of
from model import EncoderCNN
from photos import read_photo
from saving import told
from speed import fast_network, in_parallel
from vocabulary import write_atomically

SAMPLE = 512  # photos; at 49 places each they fix 2,048 directions well
AT_ONCE = 16


def fit(
    encoder: EncoderCNN, dataset: CaptionSet, out: str | os.PathLike, device: torch.device
) -> float:
    """Sets the backbone's layer `pca` to the components that vary most; returns the share kept.

    The share is of the variance of the grid over a sample of the photos of `dataset`. The same
    network and photos give the same layer, kept as `out/pca-<fingerprint>.npz`.
    """
    layer = encoder.backbone.network.pca
    nn.init.zeros_(layer.weight)  # what was there before does not matter
    nn.init.zeros_(layer.bias)
    job = describe(encoder, dataset.photos, 1, True, torch.float32) | {"pca": layer.out_channels}
    name = hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()[:16]
    path = Path(out) / f"pca-{name}.npz"
    if distributed.rank() == 0 and not path.exists():
        components, mean, share = principal(
            sample_grid(encoder, dataset, device), layer.out_channels
        )
        with told(path), write_atomically(path) as file:
            np.savez(file, components=components, mean=mean, share=share)
    distributed.gather("ready")
    try:
        with np.load(path) as kept:  # never a pickle
            components, mean = torch.from_numpy(kept["components"]), torch.from_numpy(kept["mean"])
            share = float(kept["share"])
        with torch.no_grad():
            layer.weight.copy_(components[:, :, None, None])
            layer.bias.copy_(-components @ mean)
    except BROKEN:
        raise ValueError(f"{path} is broken; delete it, and it is computed anew.") from None
    return share


def sample_grid(encoder: EncoderCNN, dataset: CaptionSet, device: torch.device) -> Tensor:
    """What the network says, before `pca`, of the places of evenly spaced photos: (N * P, D)."""
    look = transform_of(encoder)
    every = max(1, len(dataset.photos) // SAMPLE)

    def read(photo: Photo) -> Tensor | None:
        try:
            return look(read_photo(photo.path, look.enough))
        except (OSError, ValueError):
            return None  # extraction will report it

    read_photos = in_parallel(read, dataset.photos[::every][:SAMPLE])
    images = [image for image in read_photos if image is not None]
    if not images:
        raise ValueError("none of the photos can be read: check the data.")
    network = fast_network(encoder.backbone.network[:-1], device, torch.float32, images=0)
    parts = [torch.stack(images[i : i + AT_ONCE]) for i in range(0, len(images), AT_ONCE)]
    return torch.cat([as_grid(network(part), True).flatten(0, 1).cpu() for part in parts])


def principal(grid: Tensor, count: int) -> tuple[np.ndarray, np.ndarray, float]:
    """grid (N, D) -> components (count, D), mean (D,), the share of the variance they hold."""
    mean = grid.mean(dim=0)
    centred = grid - mean
    variance, directions = torch.linalg.eigh((centred.T @ centred / len(grid)).double())
    kept = directions.flip(1)[:, :count].T  # eigh sorts from the smallest
    signs = kept.gather(1, kept.abs().argmax(dim=1, keepdim=True)).sign()  # an eigenvector has none
    share = float(variance.flip(0)[:count].sum() / variance.sum())
    return (kept * signs).float().numpy(), mean.numpy(), share
