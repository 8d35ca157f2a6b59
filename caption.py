"""Photos -> captions, with saved weights.

    python caption.py photo.jpg holiday/ "*.png" --encoder-file models/toy-lstm/encoder.pkl \\
        --decoder-file models/toy-lstm/decoder.pkl --beam-size 3 --out results.json

    Captioner.load(encoder_file, decoder_file)   ready to caption
    captioner.caption(photos)                    n captions for each photo, the best first
    captioner.stream(paths)                      a whole folder: reads, looks and searches at once

The search itself is in search.py. The same photo gets the same caption, alone or in a folder.
"""

import argparse
import csv
import glob
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from backbones import as_grid, maps_of
from contract import Decoder
from ensemble import EncoderEnsemble, Ensemble, load_ensemble
from model import EncoderCNN
from photos import PhotoTransform, read_photo
from saving import load_pair
from search import PAD, Hypothesis, attention_of, beam_search, greedy, sample
from speed import fast_dtype, fast_network, in_parallel, pick_device
from vocabulary import Vocabulary, cli_errors, read_json, write_atomically

__all__ = ["Captioner", "attention_of", "beam_search", "greedy", "load_pair", "sample"]
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
SHIPPED = "models/toy-lstm/"
AT_ONCE = 64  # photos whose captions are searched together
LOOK = 8  # images given to the network at once
ONLY_DRAWN = (
    "this network has only ever seen drawn scenes; for photographs train one on photographs "
    "(README, 'Real photographs')."
)


@dataclass(frozen=True)
class Caption:
    text: str
    score: float  # logprob over the length penalty; see search.beam_search
    logprob: float
    words: tuple[int, ...]


class Captioner:
    """An encoder, a decoder and its words, and how to ask them."""

    def __init__(
        self,
        encoder: EncoderCNN | EncoderEnsemble,
        decoder: Decoder | Ensemble,
        vocab: Vocabulary,
        device: torch.device | str = "cpu",
    ):
        self.device = torch.device(device)
        self.encoder, self.decoder = encoder.to(device).eval(), decoder.to(device).eval()
        self.vocab, self.dtype = vocab, fast_dtype(self.device)
        self.transform = PhotoTransform(**encoder.backbone.transform)
        self.only_drawn = encoder.backbone.only_drawn
        self.network = fast_network(encoder.backbone.network, self.device, self.dtype, images=LOOK)

    @classmethod
    def load(
        cls,
        encoder_file: str | os.PathLike | Sequence[str | os.PathLike],
        decoder_file: str | os.PathLike | Sequence[str | os.PathLike],
        weights: str | None = None,
        device: str = "auto",
    ) -> "Captioner":
        """The captioner in a pair of files, or the ensemble in several; see `saving.load_pair`."""
        where = pick_device(device)
        pairs = [
            [f] if isinstance(f, str | os.PathLike) else f for f in (encoder_file, decoder_file)
        ]
        return cls(*load_ensemble(*pairs, weights, where), where)

    @torch.inference_mode()
    def features(self, photos: list[Image.Image]) -> Tensor | list[Tensor]:
        """photos -> features (B, P, E); of an ensemble a list of such"""
        pixels = torch.stack([self.transform.cut(photo) for photo in photos])
        found = []
        for part in pixels.split(LOOK):
            images = self.transform.normalize(part.to(self.device))
            if self.dtype != torch.float32:  # half precision rounds by the batch size: keep it
                blank = images.new_zeros(LOOK - len(part), *images.shape[1:])
                images = torch.cat([images, blank])
            maps = maps_of(self.network, images, self.encoder.backbone.second_look)
            found.append(as_grid(maps[: len(part)], self.encoder.backbone.grid))
        return self.encoder.embed(torch.cat(found))  # (B, P, D) -> (B, P, E)

    def caption(
        self,
        photos: list[Image.Image | str | os.PathLike],
        beam_size: int = 3,
        alpha: float = 0.7,
        n_best: int = 1,
        max_words: int = 20,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[list[Caption]]:
        """The `n_best` captions of each photo (PIL images or paths), the best first.

        temperature  0 searches by beam; above 0 draws `n_best` captions at random, see
                     `search.sample`
        """
        if n_best < 1 or max_words < 1:
            raise ValueError("n_best and max_words must be 1 or more.")
        enough = self.transform.enough
        opened = [p if isinstance(p, Image.Image) else read_photo(p, enough) for p in photos]
        features = self.features(opened)
        if temperature == 0:
            found = beam_search(self.decoder, features, beam_size, alpha, max_words, n_best)
            return [[self.as_caption(h) for h in hypotheses] for hypotheses in found]
        draws = [
            sample(self.decoder, features, seed + i, temperature, 0, top_p, max_words).tolist()
            for i in range(n_best)
        ]
        return [[self.as_caption(words) for words in images] for images in zip(*draws, strict=True)]

    def as_caption(self, found: Hypothesis | list[int]) -> Caption:
        if isinstance(found, Hypothesis):
            text = self.vocab.decode(found.words)
            return Caption(text, found.score, found.logprob, found.words)
        words = tuple(word for word in found if word not in (PAD, self.vocab.end))
        return Caption(self.vocab.decode(words), float("nan"), float("nan"), words)

    def stream(
        self, paths: Iterable[Path], **options
    ) -> Iterator[tuple[Path, list[Caption] | str]]:
        """(path, captions) in order; (path, what is wrong) where the photo cannot be read.

        Threads read the next photos while the network looks at these.
        """

        def read(path: Path) -> tuple[Path, Image.Image | str]:
            try:
                photo = read_photo(path, self.transform.enough)
            except (OSError, ValueError) as error:
                return path, str(error)
            return path, photo

        photos = in_parallel(read, paths)
        while part := list(islice(photos, AT_ONCE)):
            good = [photo for _, photo in part if not isinstance(photo, str)]
            captions = iter(self.caption(good, **options) if good else [])
            for path, photo in part:
                yield path, photo if isinstance(photo, str) else next(captions)


def find_photos(arguments: list[str]) -> list[Path]:
    """Files, the photos in folders, what patterns match, and with "-" the lines of the input."""
    paths: list[Path] = []
    for argument in arguments:
        if argument == "-":
            paths += find_photos([line.rstrip("\n") for line in sys.stdin if line.strip()])
        elif Path(argument).is_dir():
            inside = sorted(Path(argument).iterdir())
            found = [path for path in inside if path.suffix.lower() in SUFFIXES]
            if not found:
                raise ValueError(f"{argument} has no photos ({', '.join(sorted(SUFFIXES))}).")
            paths += found
        elif Path(argument).exists() or not glob.has_magic(argument):
            paths.append(Path(argument))
        else:
            matched = sorted(glob.glob(argument))
            if not matched:
                raise FileNotFoundError(f"no file matches {argument}")
            paths += find_photos(matched)
    return paths


def official_ids(annotations: str | None, paths: list[Path]) -> list[int | str]:
    """The id that each photo has in an annotation file; without one, its name without suffix."""
    if annotations is None:
        return [path.stem for path in paths]
    try:
        known = {image["file_name"]: image["id"] for image in read_json(annotations)["images"]}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{annotations} is not in COCO's format ({error!r} fails).") from None
    unknown = [path.name for path in paths if path.name not in known]
    if unknown:
        raise ValueError(f"{annotations} does not list {unknown[0]} ({len(unknown)} such photos).")
    return [known[path.name] for path in paths]


def write_results(
    found: list[tuple[int | str, Path, list[Caption]]], out: str | None, as_csv: str | None
) -> None:
    """COCO's results (JSON), and a table for spreadsheets (CSV)."""
    if out:
        rows = [
            {"image_id": i, "file_name": path.name, "caption": captions[0].text}
            for i, path, captions in found
        ]
        with write_atomically(out, "w") as file:
            json.dump(rows, file, ensure_ascii=False, indent=1)
    if as_csv:
        with write_atomically(as_csv, "w") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["file", "rank", "score", "caption"])
            for _, path, captions in found:
                for rank, caption in enumerate(captions, 1):
                    table.writerow([path, rank, f"{caption.score:.4f}", caption.text])


def main() -> int:
    parser = argparse.ArgumentParser(description="Captions photos with saved weights.")
    parser.add_argument("photos", nargs="+", help="photos, folders, patterns; - reads a list")
    for part in ("encoder", "decoder"):
        about = "give both once more for each further captioner: they vote (models/toy-lstm)"
        parser.add_argument(f"--{part}-file", action="append", help=about)
    parser.add_argument("--weights", help="the backbone's, if not where the encoder file says")
    parser.add_argument(
        "--beam-size", type=int, default=3, help="captions kept alive (%(default)s); 1: greedy"
    )
    parser.add_argument(
        "--alpha", type=float, default=0.7, help="length penalty (%(default)s); 0: none"
    )
    parser.add_argument("--n-best", type=int, default=1, help="captions for each photo")
    parser.add_argument("--max-words", type=int, default=20, help="longest caption (%(default)s)")
    parser.add_argument("--temperature", type=float, default=0.0, help="above 0: draw at random")
    parser.add_argument("--top-p", type=float, default=1.0, help="draw from the likeliest p only")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn at random")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--out", help="write COCO's results to this JSON file")
    parser.add_argument("--csv", help="write all captions to this CSV file")
    parser.add_argument("--json", action="store_true", help="print JSON, one line a photo")
    parser.add_argument("--annotations", help="take image ids from this annotation file")
    parser.add_argument("--attention", help="draw where the first photo's words looked: a PNG")
    args = parser.parse_args()
    with cli_errors():
        return run(args)


def run(args: argparse.Namespace) -> int:
    """Captions everything; 0 where all photos were read, 1 where some were not."""
    paths = find_photos(args.photos)
    ids = official_ids(args.annotations, paths)
    files = (
        (args.encoder_file or [SHIPPED + "encoder.pkl"]),
        (args.decoder_file or [SHIPPED + "decoder.pkl"]),
    )
    if args.attention and len(files[0]) > 1:
        raise ValueError("--attention draws where one captioner looked; give one pair of files.")
    if args.attention and Path(args.attention).suffix.lower() not in (".png", ".jpg", ".pdf"):
        raise ValueError("--attention writes a figure: name a file that ends in .png.")
    captioner = Captioner.load(*files, args.weights, args.device)
    if captioner.only_drawn:
        print(f"note: {ONLY_DRAWN}", file=sys.stderr)
    names = ("beam_size", "alpha", "n_best", "max_words", "temperature", "top_p", "seed")
    options = {name: getattr(args, name) for name in names}
    found, failed = [], 0
    for number, (path, captions) in enumerate(captioner.stream(paths, **options)):
        if isinstance(captions, str):
            print(f"error: {captions}", file=sys.stderr)
            failed += 1
            continue
        found.append((ids[number], path, captions))
        if args.json:
            print(json.dumps({"file": str(path), "captions": [asdict(c) for c in captions]}))
        else:
            print(f"{path.name}\t{captions[0].text}")
        for caption in captions[1:] if not args.json else []:
            print(f"\t{caption.text}")
    write_results(found, args.out, args.csv)
    if args.attention and found:
        from seeing import draw_attention  # matplotlib, which nothing else here needs

        _, path, captions = found[0]
        draw_attention(captioner, read_photo(path), captions[0].words).savefig(args.attention)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
