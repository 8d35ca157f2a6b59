"""Caption photos with saved weights.

    python caption.py photo.jpg holiday/ "*.png" --out results.json
    python caption.py --album                        photos that installed packages bring along
    python caption.py drawing.png --captioner toy-lstm
    python caption.py photo.jpg --encoder-file models/my/encoder-3.pkl \\
        --decoder-file models/my/decoder-3.pkl --beam-size 3

One line a photo: its name, a tab, its caption. The captioner itself is
captioning/inference/captioner.py, its search search.py and sampling.py beside it.
"""

import argparse
import csv
import json
import math
import os
import sys
from pathlib import Path

from captioning.data.album import album
from captioning.data.coco import ImageId, image_ids
from captioning.data.find_photos import find_photos
from captioning.data.photos import read_photo
from captioning.files import atomic_write, cli_errors, readable_write_errors
from captioning.inference.captioner import TOY_WARNING, Caption, Captioner
from captioning.inference.sampling import sample
from captioning.inference.search import attention_weights, beam_search, greedy
from captioning.inference.serialization import find_pair, load_pair

__all__ = ["Captioner", "attention_weights", "beam_search", "greedy", "load_pair", "sample"]
DEFAULT = "photos"  # in models/
FIGURES = {  # flag -> what it draws of the first photo
    "captioned": "the photo with its caption",
    "attention": "the attention before each word",
    "beam_tree": "the beam search as a tree",
}
Captioned = tuple[ImageId, Path, list[Caption]]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Caption photos with saved weights.")
    parser.add_argument("photos", nargs="*", help="photos, folders, patterns; - reads a list")
    parser.add_argument(
        "--album", action="store_true", help="photos that installed packages bring along"
    )
    parser.add_argument("--recursive", action="store_true", help="search subfolders too")
    parser.add_argument(
        "--captioner",
        default=DEFAULT,
        help="folder of a training run, or a shipped captioner in models (%(default)s)",
    )
    for part in ("encoder", "decoder"):
        about = f"{part} weights in place of --captioner; repeat the pair for an ensemble"
        parser.add_argument(f"--{part}-file", action="append", help=about)
    about = "backbone weights, if not the encoder file's; repeat for several backbones or pairs"
    parser.add_argument("--weights", action="append", help=about)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    about = "data folder whose training photos and their captions help to choose among captions"
    parser.add_argument("--memory", metavar="FOLDER", help=about)
    search = parser.add_argument_group("search")
    search.add_argument(
        "--beam-size", type=int, default=3, help="captions kept at each step (%(default)s)"
    )
    search.add_argument(
        "--alpha", type=float, default=0.7, help="exponent of the length penalty (%(default)s)"
    )
    search.add_argument(
        "--n-best", type=int, default=1, help="captions for each photo (%(default)s)"
    )
    search.add_argument(
        "--max-words", type=int, help="maximum words of a caption; by default as in training"
    )
    search.add_argument(
        "--no-repeat-ngram-size",
        type=int,
        default=0,
        help="never repeat an n-gram of this size; 0: no limit",
    )
    search.add_argument(
        "--temperature", type=float, default=0.0, help="above 0: sample at this temperature"
    )
    search.add_argument(
        "--top-k", type=int, default=0, help="sample from the k most likely words; 0: all"
    )
    search.add_argument(
        "--top-p",
        type=float,
        default=1.0,
        help="sample from the smallest set of words with this probability",
    )
    search.add_argument("--seed", type=int, default=0, help="seed of the sampling")
    output = parser.add_argument_group("output")
    output.add_argument("--out", help="write COCO's results to this JSON file")
    output.add_argument("--csv", help="write all captions to this CSV file")
    output.add_argument("--json", action="store_true", help="print JSON, one line per photo")
    output.add_argument("--annotations", help="take image ids from this annotation file")
    for name, about in FIGURES.items():
        flag = f"--{name.replace('_', '-')}"
        output.add_argument(flag, metavar="FIGURE", help=f"draw {about}, for the first photo")
    args = parser.parse_args()
    if not args.photos and not args.album:
        parser.error("name a photo or a folder, or try --album")
    return args


def main() -> int:
    args = parse_args()
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot print stays readable
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    with cli_errors():
        return run(args)


def run(args: argparse.Namespace) -> int:
    """Caption everything; return 0 if all photos could be read, 1 otherwise."""
    paths = find_photos(args.photos, args.recursive) if args.photos else []
    paths += [photo.path for photo in album() if photo.path] if args.album else []
    ids = image_ids(args.annotations, paths)
    encoder_files, decoder_files = pair_files(args)
    check_outputs(args, is_ensemble=len(encoder_files) > 1)
    captioner = Captioner.load(encoder_files, decoder_files, args.weights, args.device, args.memory)
    if captioner.toy_only:
        print(f"note: {TOY_WARNING}", file=sys.stderr)
    names = ("beam_size", "alpha", "n_best", "max_words", "no_repeat_ngram_size")
    names += ("temperature", "top_k", "top_p", "seed")
    options = {name: getattr(args, name) for name in names}
    found: list[Captioned] = []
    failed = 0
    try:
        for number, (path, captions) in enumerate(captioner.caption_stream(paths, **options)):
            if isinstance(captions, str):
                print(f"error: {captions}", file=sys.stderr)
                failed += 1
                continue
            found.append((ids[number], path, captions))
            try:
                print_captions(path, captions, args.json, args.recursive)
            except BrokenPipeError:  # whoever read the lines has closed the pipe, as `head` does
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                if not (args.out or args.csv):
                    break
    finally:  # also after Ctrl-C: what was captioned is kept
        write_results(found, args.out, args.csv)
    if found:
        draw_figures(args, captioner, found[0][1], found[0][2][0])
    return 1 if failed else 0


def pair_files(args: argparse.Namespace) -> tuple[list, list]:
    """Return the encoder files and the decoder files: several of each are an ensemble."""
    if bool(args.encoder_file) != bool(args.decoder_file):
        raise ValueError("Give --encoder-file and --decoder-file together: they are a pair.")
    if args.encoder_file:
        return args.encoder_file, args.decoder_file
    encoder_file, decoder_file = find_pair(args.captioner)
    return [encoder_file], [decoder_file]


def check_outputs(args: argparse.Namespace, is_ensemble: bool) -> None:
    """Raise ValueError, before any work, for a file that could not be written in the end."""
    for name in ("out", "csv", *FIGURES):
        value, flag = getattr(args, name), f"--{name.replace('_', '-')}"
        if value and Path(value).is_dir():
            raise ValueError(f"{flag} {value} is a folder; name a file.")
    for name in FIGURES:
        value, flag = getattr(args, name), f"--{name.replace('_', '-')}"
        if value and Path(value).suffix.lower() not in (".png", ".jpg", ".pdf", ".svg"):
            raise ValueError(f"{flag} writes a figure: name a file that ends in .png.")
    if args.attention and is_ensemble:
        raise ValueError(
            "--attention draws the attention of one captioner; give one pair of files."
        )


def print_captions(path: Path, captions: list[Caption], as_json: bool, whole_path: bool) -> None:
    """Print a line for a photo; further captions of it follow on lines of their own."""
    if as_json:
        print(json.dumps({"file": str(path), "captions": [c.as_dict() for c in captions]}))
        return
    print(f"{path if whole_path else path.name}\t{captions[0].text}", flush=True)
    for caption in captions[1:]:
        print(f"\t{caption.text}")
    judgment = captions[0].judgment
    if judgment and not judgment.is_familiar:
        print(f"note: {path.name} is {judgment}", file=sys.stderr, flush=True)


def write_results(found: list[Captioned], out: str | None, csv_file: str | None) -> None:
    """Write COCO's results (JSON), and a table for spreadsheets (CSV)."""
    if out:
        rows = [
            {"image_id": i, "file_name": path.name, "caption": captions[0].text}
            for i, path, captions in found
        ]
        with readable_write_errors(out), atomic_write(out, "w") as file:
            json.dump(rows, file, ensure_ascii=False, indent=1)
    if csv_file:
        with readable_write_errors(csv_file), atomic_write(csv_file, "w") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["file", "rank", "score", "caption"])
            for _, path, captions in found:
                for rank, caption in enumerate(captions, 1):
                    score = "" if math.isnan(caption.score) else f"{caption.score:.4f}"
                    table.writerow([path, rank, score, caption.text])


def draw_figures(
    args: argparse.Namespace, captioner: Captioner, path: Path, caption: Caption
) -> None:
    """Draw the figures that were asked for, of one photo."""
    if not (args.captioned or args.attention or args.beam_tree):
        return
    from captioning.inference.attention_maps import draw_attention, draw_caption  # matplotlib
    from captioning.inference.beam_tree import draw_beam_tree

    photo = read_photo(path)
    if args.captioned:
        draw_caption(photo, caption.text).savefig(args.captioned)
    if args.attention:
        draw_attention(captioner, photo, caption.words).savefig(args.attention)
    if args.beam_tree:
        draw_beam_tree(captioner, photo, args.beam_size).savefig(args.beam_tree)


if __name__ == "__main__":
    sys.exit(main())
