"""Caption photos with saved weights.

    python caption.py photo.jpg holiday/ "*.png" --encoder-file models/toy-lstm/encoder.pkl \\
        --decoder-file models/toy-lstm/decoder.pkl --beam-size 3 --out results.json

One line a photo: its name, a tab, its caption. The captioner itself is
captioning/inference/captioner.py, its search search.py and sampling.py beside it.
"""

import argparse
import csv
import glob
import json
import sys
from dataclasses import asdict
from pathlib import Path

from captioning.data.coco import ImageId, image_ids
from captioning.data.photos import read_photo
from captioning.files import atomic_write, cli_errors
from captioning.inference.captioner import TOY_WARNING, Caption, Captioner
from captioning.inference.sampling import sample
from captioning.inference.search import attention_weights, beam_search, greedy
from captioning.inference.serialization import load_pair

__all__ = ["Captioner", "attention_weights", "beam_search", "greedy", "load_pair", "sample"]
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
DEFAULT_RUN = "models/toy-lstm/"
Captioned = tuple[ImageId, Path, list[Caption]]


def find_photos(arguments: list[str]) -> list[Path]:
    """Return files, the photos in folders, what patterns match, and for "-" the lines of stdin.

    Raises FileNotFoundError where a pattern matches nothing, ValueError for a folder without photos.
    """
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


def write_results(found: list[Captioned], out: str | None, csv_file: str | None) -> None:
    """Write COCO's results (JSON), and a table for spreadsheets (CSV)."""
    if out:
        rows = [
            {"image_id": i, "file_name": path.name, "caption": captions[0].text}
            for i, path, captions in found
        ]
        with atomic_write(out, "w") as file:
            json.dump(rows, file, ensure_ascii=False, indent=1)
    if csv_file:
        with atomic_write(csv_file, "w") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["file", "rank", "score", "caption"])
            for _, path, captions in found:
                for rank, caption in enumerate(captions, 1):
                    table.writerow([path, rank, f"{caption.score:.4f}", caption.text])


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Caption photos with saved weights.")
    parser.add_argument("photos", nargs="+", help="photos, folders, patterns; - reads a list")
    for part in ("encoder", "decoder"):
        about = "repeat both flags for an ensemble, a pair for each member (models/toy-lstm)"
        parser.add_argument(f"--{part}-file", action="append", help=about)
    parser.add_argument("--weights", help="backbone weights, if not where the encoder file says")
    parser.add_argument(
        "--beam-size",
        type=int,
        default=3,
        help="captions kept at each step (%(default)s); 1: greedy",
    )
    parser.add_argument(
        "--alpha", type=float, default=0.7, help="exponent of the length penalty (%(default)s)"
    )
    parser.add_argument("--n-best", type=int, default=1, help="captions for each photo")
    parser.add_argument(
        "--max-words", type=int, default=20, help="maximum words of a caption (%(default)s)"
    )
    parser.add_argument(
        "--temperature", type=float, default=0.0, help="above 0: sample at this temperature"
    )
    parser.add_argument("--top-p", type=float, default=1.0, help="sample from the top p only")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampling")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--out", help="write COCO's results to this JSON file")
    parser.add_argument("--csv", help="write all captions to this CSV file")
    parser.add_argument("--json", action="store_true", help="print JSON, one line a photo")
    parser.add_argument("--annotations", help="take image ids from this annotation file")
    parser.add_argument("--attention", help="draw the attention over the first photo: a PNG file")
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    with cli_errors():
        return run(args)


def run(args: argparse.Namespace) -> int:
    """Caption everything; return 0 if all photos could be read, 1 otherwise."""
    paths = find_photos(args.photos)
    ids = image_ids(args.annotations, paths)
    encoder_files = args.encoder_file or [DEFAULT_RUN + "encoder.pkl"]
    decoder_files = args.decoder_file or [DEFAULT_RUN + "decoder.pkl"]
    if args.attention and len(encoder_files) > 1:
        raise ValueError(
            "--attention draws the attention of one captioner; give one pair of files."
        )
    if args.attention and Path(args.attention).suffix.lower() not in (".png", ".jpg", ".pdf"):
        raise ValueError("--attention writes a figure: name a file that ends in .png.")
    captioner = Captioner.load(encoder_files, decoder_files, args.weights, args.device)
    if captioner.toy_only:
        print(f"note: {TOY_WARNING}", file=sys.stderr)
    names = ("beam_size", "alpha", "n_best", "max_words", "temperature", "top_p", "seed")
    options = {name: getattr(args, name) for name in names}
    found: list[Captioned] = []
    failed = 0
    for number, (path, captions) in enumerate(captioner.caption_stream(paths, **options)):
        if isinstance(captions, str):
            print(f"error: {captions}", file=sys.stderr)
            failed += 1
            continue
        found.append((ids[number], path, captions))
        print_captions(path, captions, args.json)
    write_results(found, args.out, args.csv)
    if args.attention and found:
        from captioning.inference.attention_maps import draw_attention  # needs matplotlib

        _, path, captions = found[0]
        draw_attention(captioner, read_photo(path), captions[0].words).savefig(args.attention)
    return 1 if failed else 0


def print_captions(path: Path, captions: list[Caption], as_json: bool) -> None:
    """Print a line for a photo; further captions of it follow on lines of their own."""
    if as_json:
        print(json.dumps({"file": str(path), "captions": [asdict(c) for c in captions]}))
        return
    print(f"{path.name}\t{captions[0].text}")
    for caption in captions[1:]:
        print(f"\t{caption.text}")


if __name__ == "__main__":
    sys.exit(main())
