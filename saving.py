"""Weights on disk: plain data, written whole or not at all, refused in a sentence when wrong.

    save_pair(folder, name, ...)       encoder-<name>.pkl and decoder-<name>.pkl
    load_pair(encoder_file, ...)       the encoder, the decoder and its vocabulary, checked
    load_checkpoint(folder, settings)  all that a run needs to go on

The encoder file holds what was trained (a few MB); the backbone is named by architecture, weights
and fingerprint, so the wrong one is noticed. The decoder file carries its vocabulary.
"""

import os
import shutil
from pathlib import Path

import torch
from torch import nn

from backbones import load_plain
from contract import Decoder
from model import EncoderCNN, make_decoder
from vocabulary import Vocabulary, write_atomically


def save(path: str | os.PathLike, content: dict) -> None:
    """`torch.save`, written beside its place and renamed into it."""
    try:
        with write_atomically(path) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        raise OSError(
            f"{path} could not be written ({error}). Free some space or choose another folder; "
            "what was saved before is unharmed, and --resume goes on from it."
        ) from None


def trained(module: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters that training changes, on the CPU."""
    return {k: v.detach().cpu() for k, v in module.named_parameters() if v.requires_grad}


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
    save(encoder_file, about | pair | {"config": encoder.config, "state_dict": trained(encoder)})
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
    wanted = {"kind", "run_id", "epoch", "config", "state_dict"}
    if not wanted <= content.keys() or not isinstance(content["config"], dict):
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
            "files from one folder."
        )
    if saved_encoder["epoch"] != saved_decoder["epoch"]:
        raise ValueError(
            f"{encoder_file} is of epoch {saved_encoder['epoch']}, {decoder_file} of epoch "
            f"{saved_decoder['epoch']}; take both of one epoch."
        )
    config = dict(saved_encoder["config"])
    config["weights"] = weights or config.get("weights")
    try:
        encoder = EncoderCNN(**config)
        encoder.backbone.transform = dict(saved_encoder["transform"])
        if encoder.backbone.fingerprint() != saved_encoder["fingerprint"]:
            raise ValueError(
                f"the backbone {config['weights']} is not the one that {encoder_file} was trained "
                f"with ({saved_encoder['config']['weights']}); name that one with --weights"
            )
        missing, unexpected = encoder.load_state_dict(saved_encoder["state_dict"], strict=False)
        if unexpected or set(missing) & set(trained(encoder)):
            raise ValueError(f"{encoder_file} lacks some of the encoder's weights")
        vocab = Vocabulary(saved_decoder["words"])
        decoder = make_decoder(**saved_decoder["config"])
        decoder.load_state_dict(saved_decoder["state_dict"])
        if len(vocab) != decoder.output.out_features:
            raise ValueError(f"the words in {decoder_file} are not those it was trained with")
    except (KeyError, TypeError, RuntimeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()[:120]
        raise ValueError(
            f"{encoder_file} and {decoder_file} do not fit this course's models ({reason})."
        ) from None
    return encoder.to(device).eval(), decoder.to(device).eval(), vocab


def load_checkpoint(folder: str | os.PathLike, settings: dict) -> dict:
    """The content of `checkpoint.pkl`; ValueError where it belongs to a run of other settings."""
    path = Path(folder) / "checkpoint.pkl"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: nothing to resume. Leave --resume out.")
    content = load_plain(path)
    free = {"resume", "num_epochs", "patience", "print_every", "save_every", "checkpoint_every"}
    free |= {"num_workers", "out", "tensorboard", "log_file"}
    for name, value in content.get("settings", {}).items():
        if name not in free and settings.get(name, value) != value:
            raise ValueError(
                f"{path} was made with {name}={value}, not {settings[name]}; use the same settings "
                "to resume, or another folder to begin anew."
            )
    return content
