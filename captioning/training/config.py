"""Every option of a training run, in one place; the command line is made from it.

    TrainConfig(decoder="attention", num_epochs=5)   in a notebook
    python train.py --decoder attention --num-epochs 5

The options of the encoder and the decoder are those of models/config.py. The same object travels in
the checkpoint, so a checkpoint is enough by itself.
"""

import argparse
import dataclasses
import os
import types
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from captioning.models.config import (
    SEVERAL,
    DecoderConfig,
    DecoderOptions,
    EncoderConfig,
    check_options,
    option,
    split_by_backbone,
)
from captioning.models.decoder import INITIALIZERS
from model import DECODERS, NEEDS_GRID

INITS = tuple(INITIALIZERS)
NUMBERS = tuple[int, ...]
MAX_DECODERS = 5


@dataclass(kw_only=True)
class TrainConfig(EncoderConfig, DecoderOptions):
    # data
    data: str | SEVERAL = option(
        "data/toy",
        "folder in COCO's layout (see prepare.py, toy_coco.py), or several folders; or "
        "tar shards, such as 'shards/{0000..0127}.tar'",
    )
    passes: int | NUMBERS = option(
        1, "passes through the training photos of each data folder in an epoch, a number for each; "
        "more for a small folder among large ones", ge=1,
    )  # fmt: skip
    vocab_threshold: int = option(
        5, "minimum number of occurrences of a word in the vocabulary", ge=1
    )
    max_vocab_size: int | None = option(
        None, "maximum vocabulary size, without the special words", ge=1
    )
    num_samples: int | None = option(
        None, "number of photos of each split and folder to use, for a quick try", ge=1
    )
    vocab_file: str | None = option(
        None, "take the vocabulary from this JSON or decoder file, not from the captions"
    )
    max_caption_words: int | None = option(
        None, "maximum number of words in a generated caption; by default as in training",
        ge=1,
    )  # fmt: skip
    flip: float = option(0.5, "probability that a random crop is mirrored", ge=0, le=1)
    views: int = option(
        1, "views of each photo in the feature cache: the whole photo, then random crops", ge=1
    )
    num_workers: int = option(0, "processes that read photos where features are not cached", ge=0)
    cache_dir: str | None = option(
        None,
        "folder for the feature caches; by default the folder features inside each data folder",
    )
    jpeg_decoder: str = option("cpu", "what decodes JPEG files for cached features; gpu: CUDA",
                               ("cpu", "gpu"))  # fmt: skip
    feature_order: str = option(
        "auto", "order in which an epoch reads cached features: random, or shards (neighbors "
        "together, nearly in the order of the files); auto: shards where they exceed the memory",
        ("auto", "random", "shards"),
    )  # fmt: skip
    # model
    decoder: str | SEVERAL = option(
        "lstm", "kind of decoder, or several, trained in turn on the same features", tuple(DECODERS)
    )
    dropout: float = option(0.3, "dropout probability", ge=0, lt=1)
    init_embedding: str = option("default", "initialization of the word embedding", INITS)
    init_recurrent: str = option("default", "initialization of all other layers", INITS)
    init_output: str = option("default", "initialization of the output layer", INITS)
    frequency_bias: bool = option(
        False, "start the output bias at the log frequency of each word (arXiv:1412.2306)"
    )
    # optimization
    num_epochs: int = option(3, "number of epochs", ge=1)
    batch_size: int = option(128, "captions per step", ge=1)
    captions_together: int = option(
        1, "captions of a photo side by side in a batch of cached features: faster with a "
        "Transformer, which prepares a photo once, but a step sees fewer photos", ge=1,
    )  # fmt: skip
    optimizer: str = option("adam", "optimizer", ("adam", "adamw", "sgd", "rmsprop"))
    momentum: float = option(0.9, "momentum of sgd and rmsprop", ge=0, lt=1)
    lr: float = option(2e-3, "learning rate", gt=0)
    fine_tune_lr: float = option(1e-5, "learning rate of the fine-tuned backbone layers", gt=0)
    weight_decay: float = option(0.0, "weight decay", ge=0)
    schedule: str = option(
        "constant", "learning rate schedule", ("constant", "cosine", "onecycle", "plateau")
    )
    grad_clip: float = option(5.0, "maximum norm of the gradient; 0: no clipping", ge=0)
    label_smoothing: float = option(
        0.0, "probability mass that label smoothing spreads over all words", ge=0, lt=1
    )
    attention_penalty: float = option(
        1.0, "weight of the doubly stochastic attention penalty (arXiv:1502.03044)", ge=0
    )
    scheduled_sampling: float = option(
        0.0, "probability that an input word is the model's own prediction", ge=0, lt=1
    )
    ema_decay: float = option(
        0.0, "decay of an exponential moving average of the weights, which is then saved; 0: none",
        ge=0, lt=1,
    )  # fmt: skip
    overfit_batch: bool = option(
        False, "only memorize a few captions, as a sanity check of data, model and options"
    )
    seed: int = option(0, "seed of all random numbers", ge=0, lt=2**31)
    # machine
    device: str = option("auto", "auto, cpu, cuda or mps")
    precision: str = option(
        "auto", "auto or float32; auto is bfloat16 where the hardware is fast at it",
        ("auto", "float32"),
    )  # fmt: skip
    # results
    out: str = option("models", "folder for the weights, the log and the history")
    save_every: int = option(
        1, "epochs between saved pairs; the last and the best are always kept", ge=1
    )
    print_every: int = option(
        100, "steps between lines on the screen; the log file has a line for each step", ge=1
    )
    checkpoint_every: int = option(
        0, "steps between checkpoints inside an epoch; 0: at the end of each epoch", ge=0
    )
    validate_every: int = option(1, "epochs between validations; 0: never", ge=0)
    val_samples: int | None = option(
        None, "number of photos of each val split to validate on; by default all", ge=1
    )
    val_beam_size: int = option(1, "beam size of the validation captions; 1: greedy", ge=1)
    log_file: str = option("training.log", "name of the log, in the folder given by --out")
    tensorboard: bool = option(False, "also write TensorBoard logs (pip install tensorboard)")
    best_metric: str = option("CIDEr", "validation metric that decides which pair is the best",
                              ("CIDEr", "loss"))  # fmt: skip
    patience: int = option(0, "epochs without improvement before training stops; 0: never", ge=0)
    resume: bool = option(False, "continue from checkpoint.pkl in the folder given by --out")
    recipe: str | None = option(
        None, "a set of good defaults; best: tuned on Flickr8k (RECIPES in training/config.py)",
        ("best",),
    )  # fmt: skip
    # fine-tuning on CIDEr
    self_critical_epochs: int = option(
        0, "epochs of self-critical fine-tuning on CIDEr after the others", ge=0
    )
    self_critical_rounds: int = option(
        1, "rounds of self-critical fine-tuning, each from the same weights, then averaged",
        ge=1,
    )  # fmt: skip

    def __post_init__(self) -> None:
        for name in ("data", "weights", "out"):  # a checkpoint holds text, not Path objects
            if isinstance(getattr(self, name), os.PathLike):
                setattr(self, name, os.fspath(getattr(self, name)))
        for name in ("data", "decoder", "backbone", "weights"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                value = tuple(map(os.fspath, value))
                setattr(self, name, value[0] if len(value) == 1 else value)
        if not isinstance(self.passes, int):
            self.passes = tuple(self.passes)
        self.grid = self.decoder in NEEDS_GRID
        check_options(self)
        split_by_backbone(self.encoder_config())  # refuses what does not go together
        if not isinstance(self.passes, int) and len(self.passes) != len(self.data_dirs):
            raise ValueError(
                f"passes needs a number for each of the {len(self.data_dirs)} data folders, "
                f"not {len(self.passes)}."
            )

    @property
    def data_dirs(self) -> list[str]:
        """The folders of data, one or several."""
        return [self.data] if isinstance(self.data, str) else list(dict.fromkeys(self.data))

    def passes_of(self, folder: str) -> int:
        """Return the passes through a data folder in an epoch."""
        if isinstance(self.passes, int):
            return self.passes
        return self.passes[self.data_dirs.index(folder)]

    def split_by_decoder(self) -> list["TrainConfig"]:
        """Return one config for each captioner of the run: its own kind, seed and folder.

        Decoders that need the grid come first: pooled features are then computed from it.

        With `resume`, captioners that had not begun begin. Raises ValueError for too many.
        """
        if isinstance(self.decoder, str):
            return [self]
        if not 2 <= len(self.decoder) <= MAX_DECODERS:
            raise ValueError(
                f"a run trains 1 to {MAX_DECODERS} captioners, not {len(self.decoder)}."
            )
        configs: list[TrainConfig] = []
        order = sorted(range(len(self.decoder)), key=lambda i: self.decoder[i] not in NEEDS_GRID)
        for i in order:  # those on the grid first: the mean over all places follows from it
            kind = self.decoder[i]
            repeats = self.decoder[:i].count(kind)  # the same kind again gets another seed
            out = os.path.join(self.out, f"{kind}-{repeats + 1}" if repeats else kind)
            begun = not configs or os.path.isfile(os.path.join(out, self.log_file))
            own: dict[str, Any] = {"decoder": kind, "seed": self.seed + i, "out": out}
            configs.append(dataclasses.replace(self, **own, resume=self.resume and begun))
        return configs

    @property
    def cached(self) -> bool:
        """Whether features are computed once: not if the backbone itself is trained."""
        return self.fine_tune_from is None

    def encoder_config(self) -> EncoderConfig:
        """Return the part that `build_encoder` needs."""
        return EncoderConfig(**self._fields_of(EncoderConfig))

    def decoder_config(self, vocab_size: int) -> DecoderConfig:
        """Return the part that `build_decoder` needs, of a run with one decoder."""
        assert isinstance(self.decoder, str)
        options = self._fields_of(DecoderOptions)
        return DecoderConfig(kind=self.decoder, vocab_size=vocab_size, **options)

    def _fields_of(self, part: type) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(part)}


RECIPES: dict[str, dict[str, Any]] = {
    "best": {  # on Flickr8k; how each value was found is in benchmarks/results.md
        "decoder": "transformer",
        "embed_size": 512,
        "num_layers": 2,
        "dropout": 0.3,
        "tie_weights": True,
        "views": 6,
        "tta": True,
        "optimizer": "adamw",
        "lr": 7e-4,
        "weight_decay": 0.05,
        "schedule": "onecycle",
        "label_smoothing": 0.1,
        "ema_decay": 0.999,
        "num_epochs": 12,
        "self_critical_epochs": 10,
        "self_critical_rounds": 2,
    }
}


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of each flag, except None."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return a command line with one flag for every option: num_epochs becomes --num-epochs.

    A switch also has a --no- form, so that what a recipe switches on can be switched off.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=HelpFormatter)
    groups = {part: parser.add_argument_group(part) for part in ("run", "encoder", "decoder")}
    part_of = {field.name: "encoder" for field in dataclasses.fields(EncoderConfig)}
    part_of |= {field.name: "decoder" for field in dataclasses.fields(DecoderOptions)}
    for name in ("decoder", "init_embedding", "init_recurrent", "init_output", "frequency_bias"):
        part_of[name] = "decoder"
    for field in dataclasses.fields(TrainConfig):
        if not field.metadata:
            continue  # computed from the others
        options: dict[str, Any] = {"default": field.default, "help": field.metadata["help"]}
        if field.type is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            optional = get_origin(field.type) is types.UnionType
            options["type"] = get_args(field.type)[0] if optional else field.type
            options["choices"] = field.metadata["choices"]
            if {SEVERAL, NUMBERS} & set(get_args(field.type)):
                options["nargs"] = "+"
        group = groups[part_of.get(field.name, "run")]
        group.add_argument(f"--{field.name.replace('_', '-')}", **options)
    return parser


def parse_config(description: str, arguments: list[str] | None = None) -> TrainConfig:
    """Read a TrainConfig from the command line; a recipe gives the defaults, any flag overrides."""
    parser = make_parser(description)
    known, _ = parser.parse_known_args(arguments)
    parser.set_defaults(**RECIPES.get(known.recipe, {}))
    return TrainConfig(**vars(parser.parse_args(arguments)))
