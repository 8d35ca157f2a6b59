"""Fewer features for each place: principal component analysis of the frozen network's grid.

    python train.py --pca 512 ...   keeps 512 of ResNet-50's 2,048 features at each place

A grid of 49 x 2,048 half-precision numbers is 200 kB a photo, 17 GB for COCO. Channels are
correlated: the directions in which the grid varies most hold more of the variance than their
number suggests. Training prints how much; on Flickr8k it is 77 % in a quarter of the bytes and
90 % in half of them. Rotating the axes and dropping some is a linear map, so it becomes the
network's last layer, a 1 x 1 convolution, and nothing else in the course needs to know.

    fit(encoder, dataset, out)   sets that layer from a sample of photos, once; kept in `out`

Hotelling 1933; why it suits frozen features: Jegou & Chum 2012, "Negative evidences and
co-occurrences in image retrieval: the benefit of PCA and whitening".
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from captioning import distributed
from captioning.data.coco import CaptionSet, Photo
from captioning.data.photos import read_photo
from captioning.device import parallel_map
from captioning.features.cache import cache_key, hash_of, transform_of
from captioning.features.fast_network import FastBackbone
from captioning.files import PathLike, atomic_write, readable_write_errors
from captioning.safe_load import LOAD_ERRORS
from model import EncoderCNN

SAMPLE = 512  # photos; at 49 places each they determine 2,048 directions well
BATCH = 16


def fit(encoder: EncoderCNN, dataset: CaptionSet, out: PathLike, device: torch.device) -> float:
    """Set the backbone's layer `pca` to the first components; return the variance they explain.

    It is a fraction of the variance of the grid over a sample of the photos of `dataset`. The same
    network and photos give the same layer, kept as `out/pca-<key>.npz`.
    """
    layer = encoder.backbone.network.pca
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    nn.init.zeros_(layer.weight)  # the key must not depend on its earlier weights
    nn.init.zeros_(layer.bias)
    spec = cache_key(encoder, dataset.photos, 1, True, torch.float32, Path(out))
    spec["pca"] = layer.out_channels
    path = Path(out) / f"pca-{hash_of(spec)}.npz"
    if distributed.rank() == 0 and not path.exists():
        components, mean, explained = principal_components(
            sample_grid(encoder, dataset, device), layer.out_channels
        )
        with readable_write_errors(path), atomic_write(path) as file:
            np.savez(file, components=components, mean=mean, explained=explained)
    distributed.all_gather("ready")
    try:
        with np.load(path) as saved:  # never a pickle
            matrix, center = torch.from_numpy(saved["components"]), torch.from_numpy(saved["mean"])
            explained = float(saved["explained"])
        with torch.no_grad():
            layer.weight.copy_(matrix[:, :, None, None])
            layer.bias.copy_(-matrix @ center)
    except LOAD_ERRORS:
        raise ValueError(f"{path} is broken; delete it, and it is computed again.") from None
    return explained


def sample_grid(encoder: EncoderCNN, dataset: CaptionSet, device: torch.device) -> Tensor:
    """Return the grid, before `pca`, at all places of evenly spaced photos: (N * P, D)."""
    transform = transform_of(encoder)
    every = max(1, len(dataset.photos) // SAMPLE)

    def read(photo: Photo) -> Tensor | None:
        try:
            return transform(read_photo(photo.path, transform.min_side))
        except (OSError, ValueError):
            return None  # the extraction will report it

    read_photos = parallel_map(read, dataset.photos[::every][:SAMPLE])
    images = [image for image in read_photos if image is not None]
    if not images:
        raise ValueError("none of the photos can be read: check the data.")
    backbone = FastBackbone(
        encoder.backbone, device, torch.float32, BATCH, scales=(), skip_pca=True
    )
    return backbone(torch.stack(images), grid=True).flatten(0, 1).cpu()


def principal_components(grid: Tensor, count: int) -> tuple[np.ndarray, np.ndarray, float]:
    """grid (N, D) -> components (count, D), mean (D,), the fraction of variance they explain."""
    mean = grid.mean(dim=0)
    centered = grid - mean
    variance, directions = torch.linalg.eigh((centered.T @ centered / len(grid)).double())
    kept = directions.flip(1)[:, :count].T  # eigh sorts from the smallest
    signs = kept.gather(1, kept.abs().argmax(dim=1, keepdim=True)).sign()  # fixes a free choice
    explained = float(variance.flip(0)[:count].sum() / variance.sum())
    return (kept * signs).float().numpy(), mean.numpy(), explained
