"""Everything one can set about a training run, in one place; the command line is made from it.

    Settings(decoder="attention", num_epochs=5)   in a notebook
    python train.py --decoder attention --num-epochs 5

The same object travels in the checkpoint, so a checkpoint is enough by itself.
"""

import argparse
import dataclasses
import os
import types
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

from model import DECODERS, NEEDS_GRID


def setting(default: Any, about: str, choices: tuple[str, ...] | None = None) -> Any:
    """A field of Settings: its default value, and the line that --help shows."""
    metadata = {"about": about, "choices": choices}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class Settings:
    # data
    data: str | tuple[str, ...] = setting(
        "data/toy", "folder in COCO's layout (see prepare.py, toy_coco.py), or several of them"
    )
    vocab_threshold: int = setting(5, "a word must be used so often to be in the vocabulary")
    max_words: int | None = setting(None, "at most so many words in the vocabulary")
    num_samples: int | None = setting(None, "only the first so many photos, for a quick try")
    views: int = setting(1, "looks at each photo kept in the cache: the whole, then random crops")
    pixels: int = setting(0, "side of the square that the backbone sees; 0: as it was trained")
    pca: int = setting(0, "numbers kept of each place of the photo, see pca.py; 0: all of them")
    second_look: bool = setting(
        False,
        "in use, see each photo larger and mirrored as well: better captions, 2.6 times the work",
    )
    num_workers: int = setting(0, "processes that read photos, where features are not cached")
    # model
    backbone: str = setting("resnet50", "any convolutional classifier of torchvision")
    weights: str | None = setting(
        "IMAGENET1K_V1", "the backbone's: torchvision's enum name, or a file on disk"
    )
    fine_tune_from: str | None = setting(None, "train the backbone too, from this layer (layer4)")
    decoder: str | tuple[str, ...] = setting(
        "lstm", "kind of decoder, or several, trained in turn on the same features", tuple(DECODERS)
    )
    embed_size: int = setting(256, "numbers for each place and word")
    hidden_size: int = setting(512, "numbers the decoder thinks with")
    num_layers: int = setting(1, "layers of the decoder")
    dropout: float = setting(0.3, "share of numbers blanked in training")
    tie_weights: bool = setting(False, "one matrix for words in and words out")
    # training
    num_epochs: int = setting(3, "times that every caption is seen")
    batch_size: int = setting(128, "captions a step")
    optimizer: str = setting("adam", "how steps are made", ("adam", "adamw", "sgd"))
    lr: float = setting(2e-3, "learning rate")
    fine_tune_lr: float = setting(1e-5, "learning rate of fine-tuned backbone layers")
    weight_decay: float = setting(0.0, "pull of every weight towards zero (adamw, sgd)")
    schedule: str = setting(
        "constant", "the learning rate over time", ("constant", "cosine", "onecycle", "plateau")
    )
    clip: float = setting(5.0, "largest norm of the gradient; 0 leaves it alone")
    label_smoothing: float = setting(0.0, "share of the target that is spread over all words alike")
    attention_penalty: float = setting(1.0, "makes attention visit every place (arXiv:1502.03044)")
    scheduled_sampling: float = setting(0.0, "share of input words that are the model's own guess")
    average: float = setting(0.0, "decay of a running average of the weights, which is then saved")
    overfit: bool = setting(False, "learn one batch by heart: a test that everything is connected")
    seed: int = setting(0, "of every random choice")
    # machine
    device: str = setting("auto", "auto, cpu, cuda or mps")
    precision: str = setting(
        "auto", "auto or float32; auto takes bfloat16 where it is fast", ("auto", "float32")
    )
    # results
    out: str = setting("models", "folder for the weights, the log and the history")
    save_every: int = setting(1, "epochs between saved pairs; the last and the best are kept")
    print_every: int = setting(100, "steps between lines of the log")
    checkpoint_every: int = setting(0, "steps between checkpoints inside an epoch; 0: each epoch")
    validate_every: int = setting(1, "epochs between validations; 0: never")
    log_file: str = setting("training.log", "name of the log, in the folder `out`")
    tensorboard: bool = setting(False, "also write TensorBoard's logs (pip install tensorboard)")
    best_by: str = setting("CIDEr", "what makes a pair the best one", ("CIDEr", "loss"))
    patience: int = setting(0, "stop after so many epochs without a better one; 0: never")
    resume: bool = setting(False, "go on from checkpoint.pkl in the folder `out`")
    recipe: str | None = setting(
        None, "a set of good values: best, as found on Flickr8k (RECIPES in settings.py)", ("best",)
    )
    self_critical_epochs: int = setting(0, "epochs of extras.self_critical after the others")
    self_critical_rounds: int = setting(
        1, "times that these are done, each from the same weights; the mean of all is one more"
    )

    def __post_init__(self) -> None:
        for name in ("data", "weights", "out"):  # a checkpoint holds text, no Path
            if isinstance(getattr(self, name), os.PathLike):
                setattr(self, name, os.fspath(getattr(self, name)))
        for name in ("data", "decoder"):
            value = getattr(self, name)
            if not isinstance(value, str):
                value = tuple(map(os.fspath, value))
                setattr(self, name, value[0] if len(value) == 1 else value)
        for f in dataclasses.fields(self):
            value, choices = getattr(self, f.name), f.metadata["choices"]
            for one in value if isinstance(value, tuple) else (value,):
                if choices and one is not None and one not in choices:
                    raise ValueError(f"{f.name} is one of {', '.join(choices)}, not {one!r}.")
        for name in (
            "vocab_threshold",
            "views",
            "embed_size",
            "hidden_size",
            "num_layers",
            "num_epochs",
            "batch_size",
            "save_every",
            "print_every",
            "self_critical_rounds",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}.")
        for name in ("dropout", "label_smoothing", "scheduled_sampling", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), not {getattr(self, name)}.")
        if self.self_critical_epochs < 0:
            raise ValueError(
                f"self_critical_epochs must be 0 or more, not {self.self_critical_epochs}."
            )
        if self.lr <= 0:
            raise ValueError(f"lr must be above 0, not {self.lr}.")

    @property
    def folders(self) -> list[str]:
        """The folders of data, one or several."""
        return [self.data] if isinstance(self.data, str) else list(dict.fromkeys(self.data))

    def members(self) -> list["Settings"]:
        """One for each captioner of the run: a kind, a seed and a folder of its own.

        Where the run goes on (`resume`), those that had not begun begin.
        """
        if isinstance(self.decoder, str):
            return [self]
        if not 2 <= len(self.decoder) <= 5:
            raise ValueError(f"a run trains 1 to 5 captioners, not {len(self.decoder)}.")
        found = []
        for i, kind in enumerate(self.decoder):
            again = self.decoder[:i].count(kind)  # the same kind again has another seed
            out = os.path.join(self.out, f"{kind}-{again + 1}" if again else kind)
            begun = not i or os.path.isfile(os.path.join(out, self.log_file))
            own = {"decoder": kind, "seed": self.seed + i, "out": out}
            found.append(dataclasses.replace(self, **own, resume=self.resume and begun))
        return found

    @property
    def grid(self) -> bool:
        """Whether the decoder needs all places of the photo rather than their average."""
        return self.decoder in NEEDS_GRID

    @property
    def cached(self) -> bool:
        """Whether features are computed once: not if the backbone itself is learning."""
        return self.fine_tune_from is None

    def encoder_config(self) -> dict[str, Any]:
        names = ("embed_size", "backbone", "weights", "grid", "fine_tune_from", "pca", "pixels")
        return {name: getattr(self, name) for name in (*names, "second_look")}

    def decoder_config(self, vocab_size: int) -> dict[str, Any]:
        names = ("embed_size", "hidden_size", "num_layers", "dropout", "tie_weights")
        return {name: getattr(self, name) for name in names} | {"vocab_size": vocab_size}


RECIPES = {
    "best": {  # on Flickr8k; how each value was found is in benchmarks/results.md
        "decoder": "transformer",
        "embed_size": 512,
        "num_layers": 2,
        "dropout": 0.3,
        "tie_weights": True,
        "views": 6,
        "second_look": True,
        "optimizer": "adamw",
        "lr": 7e-4,
        "weight_decay": 0.05,
        "schedule": "onecycle",
        "label_smoothing": 0.1,
        "average": 0.999,
        "num_epochs": 12,
        "self_critical_epochs": 10,
        "self_critical_rounds": 2,
    }
}


def settings_parser(description: str) -> argparse.ArgumentParser:
    """A command line with one flag for every setting: num_epochs becomes --num-epochs."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    for f in dataclasses.fields(Settings):
        flag, about = f"--{f.name.replace('_', '-')}", f.metadata["about"]
        if f.type is bool:
            parser.add_argument(flag, action="store_true", help=about)
            continue
        optional = get_origin(f.type) is types.UnionType
        kind = get_args(f.type)[0] if optional else f.type
        options = {"choices": f.metadata["choices"], "default": f.default, "help": about}
        if tuple[str, ...] in get_args(f.type):
            options["nargs"] = "+"
        parser.add_argument(flag, type=kind, **options)
    return parser


def read_settings(description: str, arguments: list[str] | None = None) -> Settings:
    """Settings from the command line; a recipe's values where no flag says otherwise."""
    parser = settings_parser(description)
    first, _ = parser.parse_known_args(arguments)
    parser.set_defaults(**RECIPES.get(first.recipe, {}))
    return Settings(**vars(parser.parse_args(arguments)))
