"""Weights on disk: plain data, written whole or not at all, refused in a sentence when wrong.

    save_pair(folder, name, ...)       encoder-<name>.pkl and decoder-<name>.pkl
    load_pair(encoder_file, ...)       the encoder, the decoder and its vocabulary, checked
    checkpoint(settings, run, state)   all that the next step depends on, in checkpoint.pkl
    load_checkpoint(folder, settings)  what it wrote, checked against the settings
    restore(saved, state)              puts it in place: the run goes on as if never interrupted

The encoder file holds what was trained (a few MB); the backbone is named by architecture, weights
and fingerprint, so the wrong one is noticed. The decoder file carries its vocabulary.
"""

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

import distributed
from contract import Decoder
from distrust import BROKEN, alike, fits, load_plain, one_line
from model import EncoderCNN, make_decoder
from photos import PhotoTransform
from settings import Settings
from vocabulary import Vocabulary, write_atomically

PLAIN = str | int | float | bool | tuple | None  # what settings are made of
ADAM_OR_SGD = ({"step", "exp_avg", "exp_avg_sq"}, {"momentum_buffer"})  # what they remember
RUN = {"run_id": "", "history": [], "epoch": 1, "step": 0, "loss": 0.0, "seconds": 0.0}


@contextlib.contextmanager
def told(path: str | os.PathLike) -> Iterator[None]:
    """A full disk or a read-only folder, in a sentence; torch.save speaks in RuntimeErrors."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise OSError(
            f"{path} could not be written ({reason}). Free some space or choose another folder; "
            "what was saved before is unharmed, and --resume goes on from it."
        ) from None


def save(path: str | os.PathLike, content: dict) -> None:
    """`torch.save`, written beside its place and renamed into it."""
    with told(path), write_atomically(path) as file:
        torch.save(content, file)


def trained(encoder: EncoderCNN) -> dict[str, torch.Tensor]:
    """What training changes, on the CPU: parameters, the statistics of what `embed` reads, PCA."""
    changed = {k for k, v in encoder.named_parameters() if v.requires_grad}
    fitted = ("embed.", "backbone.network.pca.")
    state = encoder.state_dict()
    return {k: v.cpu() for k, v in state.items() if k in changed or k.startswith(fitted)}


def save_pair(
    folder: str | os.PathLike,
    epoch: int,
    encoder: EncoderCNN,
    decoder: Decoder,
    vocab: Vocabulary,
    run_id: str,
    fingerprint: str,
) -> tuple[Path, Path]:
    """Writes `encoder-<epoch>.pkl` and `decoder-<epoch>.pkl`; `run_id` and epoch tie them.

    fingerprint  of the backbone before any fine-tuning
    """
    pair = {"run_id": run_id, "epoch": epoch}
    encoder_file = Path(folder) / f"encoder-{epoch}.pkl"
    decoder_file = Path(folder) / f"decoder-{epoch}.pkl"
    transform = encoder.backbone.transform
    about = {"kind": "encoder", "transform": transform, "fingerprint": fingerprint}
    if encoder.config["weights"]:
        state = trained(encoder)
    else:  # a random backbone is nowhere else
        state = {k: v.detach().cpu() for k, v in encoder.state_dict().items()}
    save(encoder_file, about | pair | {"config": encoder.config, "state_dict": state})
    state = {k: v.detach().cpu() for k, v in decoder.state_dict().items()}
    about = {"kind": "decoder", "words": vocab.words}
    save(decoder_file, about | pair | {"config": decoder.config, "state_dict": state})
    return encoder_file, decoder_file


def keep_best(folder: str | os.PathLike, epoch: int) -> None:
    """Copies the pair of `epoch` to best/encoder.pkl and best/decoder.pkl."""
    for part in ("encoder", "decoder"):
        with (
            open(Path(folder) / f"{part}-{epoch}.pkl", "rb") as source,
            write_atomically(Path(folder) / "best" / f"{part}.pkl") as copy,
        ):
            shutil.copyfileobj(source, copy)


def load_part(path: str | os.PathLike, kind: str) -> dict:
    """The content of an encoder or decoder file; ValueError where it is none."""
    content = load_plain(Path(path))
    kinds = {"kind": str, "run_id": str, "epoch": int, "config": dict, "state_dict": dict}
    if not all(isinstance(content.get(name), wanted) for name, wanted in kinds.items()):
        raise ValueError(f"{path} is no {kind} file of this course; train.py writes them.")
    if content["kind"] != kind:
        raise ValueError(f"{path} is the {content['kind']}'s file; the {kind}'s was expected.")
    return content


def load_pair(
    encoder_file: str | os.PathLike,
    decoder_file: str | os.PathLike,
    weights: str | None = None,
    device: torch.device | str = "cpu",
) -> tuple[EncoderCNN, Decoder, Vocabulary]:
    """The two halves of a captioner, in eval mode, and the decoder's words.

    weights  where the backbone's weights are, if not where the encoder file says

    Raises FileNotFoundError or ValueError, one sentence, where a file is broken, the two are of
    different runs or epochs, or the backbone is another one.
    """
    saved_encoder, saved_decoder = (
        load_part(encoder_file, "encoder"),
        load_part(decoder_file, "decoder"),
    )
    if saved_encoder["run_id"] != saved_decoder["run_id"]:
        raise ValueError(
            f"{encoder_file} and {decoder_file} come from different training runs; take both "
            "files of one run."
        )
    if saved_encoder["epoch"] != saved_decoder["epoch"]:
        raise ValueError(
            f"{encoder_file} is of epoch {saved_encoder['epoch']}, {decoder_file} of epoch "
            f"{saved_decoder['epoch']}; take both of one epoch."
        )
    config = dict(saved_encoder["config"])
    config["weights"] = weights or config.get("weights")
    try:
        encoder = build_encoder(config, saved_encoder, encoder_file)
        vocab = Vocabulary(saved_decoder["words"])
        config, state = saved_decoder["config"], saved_decoder["state_dict"]
        if config.get("num_layers", 1) > len(state):
            raise ValueError("more layers than weights")
        fits(lambda: make_decoder(**config), state)
        decoder = make_decoder(**config)
        decoder.load_state_dict(state)
        if len(vocab) != decoder.output.out_features:
            raise ValueError(f"the words in {decoder_file} are not those it was trained with")
    except BROKEN as error:
        raise ValueError(
            f"{encoder_file} and {decoder_file} make no captioner: {one_line(error, 500)}"
        ) from None
    return encoder.to(device).eval(), decoder.to(device).eval(), vocab


def build_encoder(config: dict, saved: dict, path: str | os.PathLike) -> EncoderCNN:
    """The encoder of `config` with the numbers of `saved`; ValueError where they do not fit."""
    state, known = saved["state_dict"], config["weights"] is not None
    if config["embed_size"] != len(state["embed.weight"]):
        raise ValueError("the encoder's weights have another size than it says")
    if not known:  # then the whole backbone is in the file
        fits(lambda: EncoderCNN(**config), state)
    if not all(tensor.isfinite().all() for tensor in state.values()):
        raise ValueError("the encoder's weights are not all numbers")
    encoder = EncoderCNN(**config)
    encoder.backbone.transform = dict(saved["transform"])
    PhotoTransform(**encoder.backbone.transform)  # refuses what cannot be
    if known and encoder.backbone.fingerprint() != saved["fingerprint"]:
        raise ValueError(
            f"the backbone {config['weights']} is not the one that {path} was trained with "
            f"({saved['config']['weights']}); name that one with --weights"
        )
    missing, unexpected = encoder.load_state_dict(state, strict=False)
    if unexpected or set(missing) & set(trained(encoder) if known else encoder.state_dict()):
        raise ValueError(f"{path} lacks some of the encoder's weights")
    return encoder


def sweep(folder: Path) -> None:
    """Removes what a killed run left half written."""
    for half in (*folder.glob(".*.tmp"), *folder.glob("best/.*.tmp")):
        half.unlink(missing_ok=True)


def checkpoint(settings: Settings, run: dict, state: dict) -> None:
    """All that the next step depends on, in checkpoint.pkl; of all processes the first writes it.

    run    where the training is: run_id, history, epoch; step, loss and seconds in that epoch
    state  what learns: "learning" (parameters), "optimizer", "schedule", "average"
    """
    chance = {"cpu": torch.get_rng_state()}  # the next dropout follows from it
    if torch.cuda.is_available():
        chance["cuda"] = torch.cuda.get_rng_state()
    content = {
        "settings": dataclasses.asdict(settings),
        "run": run,
        "weights": [parameter.detach() for parameter in state["learning"]],
        "average": {"steps": state["average"].steps, "weights": state["average"].average},
        "optimizer": state["optimizer"].state_dict(),
        "schedule": state["schedule"].state_dict(),
        "random": distributed.gather(chance),
    }
    if distributed.rank() == 0:
        save(Path(settings.out) / "checkpoint.pkl", content)


def load_checkpoint(folder: str | os.PathLike, settings: dict) -> dict | None:
    """The content of `checkpoint.pkl`; None where a run began and was killed before its first one.

    Raises FileNotFoundError where none began, ValueError where it belongs to other settings.
    """
    path = Path(folder) / "checkpoint.pkl"
    if not path.is_file():
        if Path(folder, settings.get("log_file", "")).is_file():
            return None
        raise FileNotFoundError(f"{path} is missing: nothing to resume. Leave --resume out.")
    content = load_plain(path)
    run, made_with = content.get("run"), content.get("settings")
    right = isinstance(run, dict) and isinstance(made_with, dict) and run.keys() == RUN.keys()
    plain = right and all(isinstance(value, PLAIN) for value in made_with.values())
    if not plain or not alike([RUN["epoch"], RUN["step"]], [run["epoch"], run["step"]]):
        raise ValueError(f"{path} is no checkpoint of this course; train.py writes them.")
    free = {"resume", "patience", "print_every", "save_every", "checkpoint_every"}
    free |= {"num_workers", "out", "tensorboard", "log_file"}
    if settings.get("schedule") in ("constant", "plateau"):  # the others are drawn to the end
        free.add("num_epochs")
    for name, value in made_with.items():
        if name not in free and settings.get(name, value) != value:
            raise ValueError(
                f"{path} was made with {name}={value!s:.80}, not {settings[name]}; use the same "
                "settings to resume, or another folder to begin anew."
            )
    return content


def remembers(name: str, tensor: object, parameter: Tensor) -> bool:
    """Whether an optimizer may use this of its memory: fused kernels look at nothing themselves."""
    if not isinstance(tensor, Tensor):
        return False
    like = torch.zeros(()) if name == "step" else parameter
    return tensor.shape == like.shape and tensor.dtype == like.dtype and tensor.is_contiguous()


def restore(saved: dict, state: dict) -> dict:
    """Puts a checkpoint's numbers in place; returns where the run was, see `checkpoint`.

    Raises ValueError where they do not fit the models of this run.
    """
    learning, average, optimizer = state["learning"], state["average"], state["optimizer"]
    fresh = {
        "weights": learning,
        "average": {"steps": 0, "weights": average.average},
        "schedule": state["schedule"].state_dict(),
    }
    groups = optimizer.state_dict()["param_groups"]
    try:
        run = saved["run"] | {"loss": float(saved["run"]["loss"])}
        if [row["epoch"] for row in run["history"]] != list(range(1, run["epoch"])):
            raise ValueError("it does not say where the run was")
        if not alike(fresh, {name: saved[name] for name in fresh}):
            raise ValueError("its weights or its schedule are built otherwise")
        optimizer.load_state_dict(saved["optimizer"])
        kinds = [memory.keys() for memory in optimizer.state.values()]
        whole = all(keys in ADAM_OR_SGD for keys in kinds) and all(
            remembers(name, tensor, parameter)
            for parameter, memory in optimizer.state.items()
            for name, tensor in memory.items()
        )
        if not whole or not alike(groups, optimizer.state_dict()["param_groups"]):
            raise ValueError("its optimizer remembers other weights")
        average.copy(learning, saved["weights"])
        average.copy(average.average, saved["average"]["weights"])
        average.steps = saved["average"]["steps"]
        state["schedule"].load_state_dict(saved["schedule"])
        if distributed.rank() < len(saved["random"]):  # else: more processes than before
            chance = saved["random"][distributed.rank()]
            torch.set_rng_state(chance["cpu"])
            if "cuda" in chance and torch.cuda.is_available():
                torch.cuda.set_rng_state(chance["cuda"])
    except BROKEN as error:
        raise ValueError(
            f"checkpoint.pkl does not fit this run ({one_line(error)}). Resume with the code and "
            "settings that wrote it, or begin anew without --resume."
        ) from None
    return run | {"loss": torch.tensor(run["loss"], device=learning[0].device)}
