"""The frozen network, made fast; its features differ from plain float32 by rounding only.

    FastBackbone(backbone, ...)   images -> grid: folded, channels last, half precision, compiled
    fold_batchnorm(network)       the same function, BatchNorm folded into the convolutions
    to_mixed_precision(...)       half precision, except the first convolutions

Cosine similarity to the features of plain float32 is above 0.999.
"""

import copy
import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from captioning.device import can_compile, keep_freed_memory
from captioning.models.backbone import Backbone, feature_maps, maps_to_grid

NUM_FLOAT32_CONVS = 2  # convolutions that stay in float32; see `to_mixed_precision`
COMPILE_FROM = 1_000  # images; compiling takes 5 to 20 seconds, which fewer never earn back


def fold_batchnorm(network: nn.Module) -> nn.Module:
    """Return a copy in which each BatchNorm (eval mode) is part of the convolution before it.

    Works where a module's children stand in the order they run, as in torchvision's classifiers.
    """
    network = copy.deepcopy(network).eval()  # a copied graph would be in train mode
    for module in [m for m in network.modules() if not isinstance(m, nn.Conv2d)]:
        children = list(module.named_children())
        for (name, first), (next_name, second) in itertools.pairwise(children):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(first, second))
                setattr(module, next_name, nn.Identity())
    return network


class Float32Layer(nn.Module):
    """A layer that computes in float32 inside a network in `dtype`."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.layer, self.dtype = layer, dtype

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.float()).to(self.dtype)


def to_mixed_precision(network: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Move `network` to the device in `dtype`, except its first NUM_FLOAT32_CONVS convolutions.

    Those subtract large numbers from each other: an edge is where neighbors differ. Rounded, they
    see edges in even areas, which causes most of the error of bfloat16 in the end.
    """
    names = [name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)]
    names = names[:NUM_FLOAT32_CONVS] if dtype != torch.float32 else []
    layers = [Float32Layer(copy.deepcopy(network.get_submodule(name)), dtype) for name in names]
    network = network.to(device, dtype)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for name, layer in zip(names, layers, strict=True):
        layer.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.set_submodule(name, layer)
    return network


class FastBackbone:
    """A frozen backbone at its fastest: images (N, 3, H, W) -> grid (N, P, D), in float32.

    batch_size  images given to the network at once. Half precision rounds by the size of the
                batch and a compiled network is compiled for it, so there the last batch is filled
                up with black images: a photo's features do not depend on the rest of its batch
    num_images  how many images will come: from COMPILE_FROM on the network is compiled
    scales      of test-time augmentation, if not as the backbone itself has them; (): none
    skip_pca    stop before the backbone's last layer, `pca`
    """

    def __init__(
        self,
        backbone: Backbone,
        device: torch.device,
        dtype: torch.dtype,
        batch_size: int,
        num_images: int = 0,
        scales: Sequence[float] | None = None,
        skip_pca: bool = False,
    ):
        keep_freed_memory()
        network = backbone.network[:-1] if skip_pca else backbone.network
        fast = to_mixed_precision(fold_batchnorm(network), device, dtype).eval()
        compiles = num_images >= COMPILE_FROM and can_compile(device)
        self.network: Callable[[Tensor], Tensor] = (
            torch.compile(fast, dynamic=False, options={"freezing": True}) if compiles else fast
        )
        self.device, self.batch_size, self.grid = device, batch_size, backbone.grid
        self.scales = backbone.scales if scales is None else scales
        self.fixed_batch = compiles or dtype != torch.float32

    @torch.inference_mode()
    def __call__(self, images: Tensor, grid: bool | None = None) -> Tensor:
        """Return all places, or their mean (N, 1, D); `grid` as the backbone has it, if None."""
        all_places = self.grid if grid is None else grid
        parts = [self._batch(part, all_places) for part in images.split(self.batch_size)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _batch(self, images: Tensor, grid: bool) -> Tensor:
        missing = self.batch_size - len(images)
        images = images.to(self.device)
        if self.fixed_batch and missing:
            images = torch.cat([images, images.new_zeros(missing, *images.shape[1:])])
        images = images.contiguous(memory_format=torch.channels_last)
        maps = feature_maps(self.network, images, self.scales)
        return maps_to_grid(maps[: self.batch_size - missing], grid)
