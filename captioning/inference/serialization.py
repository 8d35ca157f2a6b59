"""A captioner on disk: two files of plain data, written whole or not at all, checked when loaded.

    save_pair(folder, epoch, ...)   encoder-<epoch>.pkl and decoder-<epoch>.pkl
    fingerprint_of(encoder)         hexadecimal digits that change with the weights of a backbone
    load_pair(encoder_file, ...)    the encoder, the decoder and its vocabulary, checked
    load_vocabulary(path)           of a decoder file, or from JSON
    copy_best(folder, epoch)        best/encoder.pkl and best/decoder.pkl
    find_pair(captioner)            the two files of a captioner in a folder

The encoder file holds what was trained (a few MB) and names its backbone by architecture, weights
and fingerprint, so the wrong backbone is noticed; that of an EncoderGroup holds a list of what the
files of its encoders would hold. The decoder file carries its vocabulary.
"""

import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from captioning.data.photos import PhotoTransform
from captioning.files import PathLike, atomic_write, readable_write_errors, short_message
from captioning.models.config import (
    MAX_ENCODERS,
    MODELS,
    DecoderConfig,
    EncoderConfig,
    split_weights,
)
from captioning.models.decoder import Decoder
from captioning.models.familiarity import restore
from captioning.safe_load import LOAD_ERRORS, check_state_dict, safe_load
from model import Encoder, EncoderCNN, EncoderGroup, build_decoder
from vocabulary import Vocabulary

FORMAT = 2  # of the saved files; 1 was that of version 0.1, whose names differ
Saved = dict[str, Any]  # the content of a file
Pair = tuple[Path, Path]  # encoder file, decoder file


def save(path: PathLike, content: Saved) -> None:
    """Write `content` with `torch.save`, beside its place, and rename it into it."""
    with readable_write_errors(path), atomic_write(path) as file:
        torch.save(content, file)


def trainable_state(encoder: EncoderCNN) -> dict[str, torch.Tensor]:
    """Return what training changes, on the CPU: parameters, the statistics of `embed`, PCA."""
    changed = {k for k, v in encoder.named_parameters() if v.requires_grad}
    fitted = ("embed.", "backbone.network.pca.")
    state = encoder.state_dict()
    return {k: v.cpu() for k, v in state.items() if k in changed or k.startswith(fitted)}


def fingerprint_of(encoder: Encoder) -> str:
    """Return the fingerprint of the backbone; of several backbones, all of them in a row."""
    return " ".join(part.backbone.fingerprint() for part in encoder.parts)


def save_pair(
    folder: PathLike,
    epoch: int,
    encoder: Encoder,
    decoder: Decoder,
    vocab: Vocabulary,
    run_id: str,
    fingerprint: str,
) -> tuple[Path, Path]:
    """Write `encoder-<epoch>.pkl` and `decoder-<epoch>.pkl`; `run_id` and epoch tie them together.

    fingerprint  `fingerprint_of(encoder)` before any fine-tuning
    """
    encoder_file = Path(folder) / f"encoder-{epoch}.pkl"
    decoder_file = Path(folder) / f"decoder-{epoch}.pkl"
    pair = {"format": FORMAT, "run_id": run_id, "epoch": epoch}
    parts = [
        _encoder_content(part, of_one)
        for part, of_one in zip(encoder.parts, fingerprint.split(), strict=True)
    ]
    content = parts[0] if len(parts) == 1 else {"parts": parts, "fingerprint": fingerprint}
    save(encoder_file, {"kind": "encoder"} | content | pair)
    state = {k: v.detach().cpu() for k, v in decoder.state_dict().items()}
    content = {"kind": "decoder", "config": dataclasses.asdict(decoder.config)}
    save(decoder_file, content | pair | {"words": vocab.words, "state_dict": state})
    return encoder_file, decoder_file


def _encoder_content(encoder: EncoderCNN, fingerprint: str) -> Saved:
    if encoder.config.weights:
        state = trainable_state(encoder)
    else:  # a random backbone exists nowhere else
        state = {k: v.detach().cpu() for k, v in encoder.state_dict().items()}
    content: Saved = {"config": dataclasses.asdict(encoder.config), "state_dict": state}
    content |= {"transform": encoder.backbone.transform, "fingerprint": fingerprint}
    if encoder.familiarity:
        content["familiarity"] = encoder.familiarity.state()
    return content


def copy_best(folder: PathLike, epoch: int) -> None:
    """Copy the pair of `epoch` to best/encoder.pkl and best/decoder.pkl."""
    for part in ("encoder", "decoder"):
        with (
            open(Path(folder) / f"{part}-{epoch}.pkl", "rb") as source,
            atomic_write(Path(folder) / "best" / f"{part}.pkl") as copy,
        ):
            shutil.copyfileobj(source, copy)


def load_part(path: PathLike, kind: str) -> Saved:
    """Return the content of an encoder or decoder file; ValueError where it is something else."""
    content = safe_load(path)
    expected = {"kind": str, "run_id": str, "epoch": int}
    if "parts" in content:  # of an EncoderGroup
        expected |= {"parts": list}
    else:
        expected |= {"config": dict, "state_dict": dict}
    if not all(isinstance(content.get(name), type_) for name, type_ in expected.items()):
        raise ValueError(f"{path} is not an {kind} file of this course; train.py writes them.")
    if content["kind"] != kind:
        raise ValueError(f"{path} is the {content['kind']}'s file; the {kind}'s was expected.")
    if content.get("format") != FORMAT:
        raise ValueError(
            f"{path} was saved by another version of this course (format "
            f"{content.get('format', 1)!s:.20}, not {FORMAT}); train it again with this version."
        )
    return content


def load_vocabulary(path: PathLike) -> Vocabulary:
    """Return the vocabulary in a JSON file, or in a decoder's file (.pkl), whose words it shares.

    Raises ValueError, one sentence, where there is none.
    """
    if Path(path).suffix != ".pkl":
        return Vocabulary.load(path)
    words = load_part(path, "decoder").get("words")
    if not isinstance(words, list):
        raise ValueError(f"{path} has no vocabulary: take the decoder file of another run.")
    return Vocabulary(words)


def load_pair(
    encoder_file: PathLike,
    decoder_file: PathLike,
    weights: str | Sequence[str] | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Encoder, Decoder, Vocabulary]:
    """Return the two halves of a captioner, in eval mode, and the decoder's vocabulary.

    weights  where the backbone's weights are, if not where the encoder file says; of several
             backbones one for each

    Raises FileNotFoundError or ValueError, one sentence, where a file is broken, the two are of
    different runs or epochs, or the backbone is another one.
    """
    saved_encoder = load_part(encoder_file, "encoder")
    saved_decoder = load_part(decoder_file, "decoder")
    if saved_encoder["run_id"] != saved_decoder["run_id"]:
        raise ValueError(
            f"{encoder_file} and {decoder_file} come from different training runs; take both "
            "files of one run."
        )
    if saved_encoder["epoch"] != saved_decoder["epoch"]:
        raise ValueError(
            f"{encoder_file} is of epoch {saved_encoder['epoch']}, {decoder_file} of epoch "
            f"{saved_decoder['epoch']}; take both files of one epoch."
        )
    try:
        encoder = _build_encoder(saved_encoder, weights, encoder_file)
        decoder = _build_decoder(saved_decoder)
        vocab = Vocabulary(saved_decoder["words"])
        if len(vocab) != decoder.output.out_features:
            raise ValueError(f"the words in {decoder_file} are not those it was trained with")
    except LOAD_ERRORS as error:
        raise ValueError(
            f"{encoder_file} and {decoder_file} do not make a captioner: "
            f"{short_message(error, 500)}"
        ) from None
    return encoder.to(device).eval(), decoder.to(device).eval(), vocab


def _build_decoder(saved: Saved) -> Decoder:
    config, state = DecoderConfig(**saved["config"]), saved["state_dict"]
    if config.num_layers > len(state):
        raise ValueError("the decoder's configuration has more layers than weights")
    check_state_dict(lambda: build_decoder(config), state)
    decoder = build_decoder(config)
    decoder.load_state_dict(state)
    return decoder


def _build_encoder(saved: Saved, weights: str | Sequence[str] | None, path: PathLike) -> Encoder:
    parts = saved.get("parts", [saved])
    if not 1 <= len(parts) <= MAX_ENCODERS:
        raise ValueError(f"{path} has {len(parts)} encoders, not 1 to {MAX_ENCODERS}")
    encoders = [
        _build_one_encoder(part, of_one, path)
        for part, of_one in zip(parts, split_weights(weights, len(parts)), strict=True)
    ]
    return encoders[0] if len(encoders) == 1 else EncoderGroup(encoders)


def _build_one_encoder(saved: Saved, weights: str | None, path: PathLike) -> EncoderCNN:
    config, state = EncoderConfig(**saved["config"]), saved["state_dict"]
    recorded, config.weights = config.weights, weights or config.weights
    is_random = config.weights is None  # then the whole backbone is in the file
    if config.embed_size != len(state["embed.weight"]):
        raise ValueError("the encoder's weights do not have the size of its configuration")
    if is_random:
        check_state_dict(lambda: EncoderCNN.from_config(config), state)
    if not all(tensor.isfinite().all() for tensor in state.values()):
        raise ValueError("the encoder's weights are not all finite")
    encoder = EncoderCNN.from_config(config)
    encoder.backbone.transform = dict(saved["transform"])
    PhotoTransform(**encoder.backbone.transform)  # refuses impossible values
    if not is_random and encoder.backbone.fingerprint() != saved["fingerprint"]:
        raise ValueError(
            f"the backbone {config.weights} is not the one that {path} was trained with "
            f"({recorded}); name that one with --weights"
        )
    missing, unexpected = encoder.load_state_dict(state, strict=False)
    needed = encoder.state_dict() if is_random else trainable_state(encoder)
    if unexpected or set(missing) & set(needed):
        raise ValueError(f"{path} lacks some of the encoder's weights")
    encoder.familiarity = restore(encoder.config, saved.get("familiarity"))
    return encoder


def find_pair(captioner: PathLike) -> Pair:
    """Return the pair of files of a captioner: a folder, or the name of one in models/.

    Raises FileNotFoundError where there is none.
    """
    for folder in (Path(captioner), MODELS / captioner):
        if pair := pair_in(folder):
            return pair
    shipped = ", ".join(sorted(path.parent.name for path in MODELS.glob("*/encoder.pkl")))
    raise FileNotFoundError(
        f"There is no captioner in {captioner} (encoder.pkl and decoder.pkl). Give the folder of a "
        f"training run, or one of {shipped}."
    )


def pair_in(folder: Path) -> Pair | None:
    """Return the pair of a folder: its own, else the best of a run, else that of the last epoch."""
    for encoder in _encoders(folder):
        decoder = encoder.with_name(encoder.name.replace("encoder", "decoder", 1))
        if encoder.is_file() and decoder.is_file():
            return encoder, decoder
    return None


def _encoders(folder: Path) -> Iterator[Path]:
    yield folder / "encoder.pkl"
    yield folder / "best" / "encoder.pkl"
    epochs = [path.stem.removeprefix("encoder-") for path in folder.glob("encoder-*.pkl")]
    for epoch in sorted(filter(str.isdecimal, epochs), key=int, reverse=True):
        yield folder / f"encoder-{epoch}.pkl"
