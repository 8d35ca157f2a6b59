"""What an encoder and a decoder are made of: a dataclass each, with a help text for every field.

    EncoderConfig    the frozen network and the layer that is trained on top of it
    DecoderOptions   what a user chooses about a decoder, of whichever kind
    DecoderConfig    the same, with the kind and the vocabulary size: enough to build it
    option(...)      a field with its help text and the range of values it allows
    check_options    one loop over those ranges
    split_by_backbone(config)   a config for each of several backbones

They travel inside the saved files, and `train.py` makes its command line from the same fields.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEVERAL = tuple[str, ...]  # a flag that takes one value or more
MAX_ENCODERS = 4  # each costs as much as one encoder
MODELS = Path(__file__).parents[2] / "models"  # the shipped weights


def option(
    default: Any,
    help: str,
    choices: tuple[str, ...] | None = None,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
) -> Any:
    """Return a dataclass field: its default, the line that --help shows, and what it allows.

    choices         the only values allowed
    ge, gt, le, lt  bounds of a number: greater or equal, greater, less or equal, less
    """
    metadata = {"help": help, "choices": choices, "ge": ge, "gt": gt, "le": le, "lt": lt}
    return dataclasses.field(default=default, metadata=metadata)


def check_options(config: Any) -> None:
    """Raise ValueError, one sentence, for the first field of a dataclass that is out of range."""
    for field in dataclasses.fields(config):
        value, allowed = getattr(config, field.name), field.metadata
        for item in value if isinstance(value, tuple) else (value,):
            if item is None or not allowed:
                continue
            if allowed["choices"] and item not in allowed["choices"]:
                choices = ", ".join(allowed["choices"])
                raise ValueError(f"{field.name} must be one of {choices}, not {item!r}.")
            if (reason := _out_of_range(item, allowed)) is not None:
                raise ValueError(f"{field.name} must be {reason}, not {item}.")


def _out_of_range(value: Any, allowed: Any) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number"
    if allowed["le"] is not None and not allowed["ge"] <= value <= allowed["le"]:
        return f"in [{allowed['ge']}, {allowed['le']}]"
    if allowed["lt"] is not None and not allowed["ge"] <= value < allowed["lt"]:
        return f"in [{allowed['ge']}, {allowed['lt']})"
    if allowed["ge"] is not None and not value >= allowed["ge"]:
        return f"{allowed['ge']} or more"
    if allowed["gt"] is not None and not value > allowed["gt"]:
        return f"above {allowed['gt']}"
    return None


@dataclass
class EncoderConfig:
    """The options of `model.EncoderCNN`; with several backbones, those of an `EncoderGroup`."""

    embed_size: int = option(256, "embedding size E of image features and words", ge=1)
    backbone: str | SEVERAL = option(
        "resnet50", "name of a convolutional classifier of torchvision; several see each photo "
        "side by side",
    )  # fmt: skip
    weights: str | SEVERAL | None = option(
        "IMAGENET1K_V1", "weights of the backbone: torchvision's enum name, or a file; of several "
        "backbones, one for each in their order or a name for all",
    )  # fmt: skip
    grid: bool = False  # all P places rather than their mean; TrainConfig asks the decoder
    backbone_layer: str | None = option(
        None, "layer whose output is used (classifier.4 of VGG-16); by default the last feature map"
    )
    fine_tune_from: str | None = option(
        None, "also train the backbone, from this layer on (layer4, for example)"
    )
    pca: int = option(0, "principal components kept per grid cell (features/pca.py); 0: all", ge=0)
    image_size: int = option(
        0, "side in pixels of the square that the backbone sees; 0: as in its training", ge=0
    )
    tta: bool = option(
        False,
        "test-time augmentation: see each photo larger and also mirrored; better captions for 2.6 "
        "times the work",
    )
    tta_scale: float = option(
        1.0, "with --tta, above 1: see each photo also this many times larger; 1.2 takes 2.4 times "
        "the work of --tta", ge=1, le=2,
    )  # fmt: skip


def split_by_backbone(config: EncoderConfig) -> list[EncoderConfig]:
    """Return a config for each backbone: its own name and weights, the other options shared.

    Raises ValueError where options do not go together, or do not suit several backbones.
    """
    names = (config.backbone,) if isinstance(config.backbone, str) else config.backbone
    if not 1 <= len(names) <= MAX_ENCODERS:
        raise ValueError(f"backbone takes 1 to {MAX_ENCODERS} names, not {len(names)}.")
    if config.tta_scale > 1 and not config.tta:
        raise ValueError("tta_scale belongs to test-time augmentation: add --tta, or leave it out.")
    if len(names) > 1 and (config.backbone_layer or config.fine_tune_from):
        raise ValueError(
            "backbone_layer and fine_tune_from name a layer of one backbone: leave them out, or "
            "train with one backbone."
        )
    weights = split_weights(config.weights, len(names))
    return [
        dataclasses.replace(config, backbone=name, weights=of_one)
        for name, of_one in zip(names, weights, strict=True)
    ]


def split_weights(weights: str | Sequence[str] | None, count: int) -> list[str | None]:
    """Return the weights of each of `count` backbones; a single name or file is that of all.

    Raises ValueError where their numbers differ.
    """
    if weights is None or isinstance(weights, str):
        return [weights] * count
    if len(weights) not in (1, count):
        raise ValueError(
            f"weights must be one for each of {count} backbones, in their order, or one for all, "
            f"not {len(weights)}."
        )
    return [*weights] * (count // len(weights))


@dataclass(kw_only=True)
class DecoderOptions:
    """What a user chooses about a decoder; an option that its kind does not have is refused."""

    embed_size: int = option(256, "embedding size E of image features and words", ge=1)
    hidden_size: int = option(512, "hidden state size H", ge=1)
    num_layers: int = option(1, "number of decoder layers", ge=1)
    dropout: float = option(0.0, "dropout probability", ge=0, lt=1)
    tie_weights: bool = option(
        False, "share one matrix between word embedding and output layer (arXiv:1608.05859)"
    )
    image_input: str = option(
        "input",
        "how an RNN gets the image: as its first input, or as its initial state",
        ("input", "state"),
    )
    nonlinearity: str = option("tanh", "activation of the plain RNN", ("tanh", "relu"))
    num_heads: int = option(8, "attention heads of the Transformer", ge=1)


@dataclass(kw_only=True)
class DecoderConfig(DecoderOptions):
    """All that `model.build_decoder` needs to know."""

    kind: str
    vocab_size: int
    max_words: int = 20  # of a caption that a search writes; training sets it from its captions
