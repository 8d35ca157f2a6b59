"""Prepare real photographs: convert them to the layout that everything else reads, or check them.

    python prepare.py flickr8k --from FOLDER --out data/flickr8k
    python prepare.py flickr30k --from FOLDER --karpathy-json dataset_flickr30k.json --out ...
    python prepare.py coco --from FOLDER --out data/coco
    python prepare.py coco --download --split karpathy --out data/coco
    python prepare.py coco --download --split 2014 --test --out data/coco
    python prepare.py folder --from PHOTOS --csv captions.csv --out data/mine
    python prepare.py check data/flickr8k

    <out>/images/<split>/*.jpg    <out>/annotations/captions_<split>.json, in COCO's format

An interrupted run leaves nothing broken, and running the same command again continues it.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from captioning.data import sources
from captioning.data.check import as_text, check
from captioning.data.download import ARCHIVES, fetch_all
from captioning.data.layout import copy_boxes, write_layout
from captioning.files import atomic_write, cli_errors

FLICKR30K_FORM = (
    "Flickr30k is given out on request: fill in the form at "
    "https://shannon.cs.illinois.edu/DenotationGraph/, unpack what you get, and use --from FOLDER."
)


def download(args: argparse.Namespace) -> None:
    """Download a dataset to `<out>/publisher`, and set the arguments as if it had been there."""
    if args.command == "flickr30k":
        raise ValueError(FLICKR30K_FORM)
    name = f"coco {args.split or 2017}" if args.command == "coco" else args.command
    args.source, args.link = args.out / "publisher", True
    archives = ARCHIVES[name]
    if args.command == "coco" and args.test:
        archives = archives + ARCHIVES[f"coco test {args.split or 2017}"]
    fetch_all(archives, args.source, args.yes)
    if name == "coco karpathy":
        args.karpathy_json = args.source / "dataset_coco.json"
    print(f"When this has finished, you may delete {args.source}.")


def check_arguments(args: argparse.Namespace) -> None:
    """Raise ValueError where the arguments contradict each other."""
    may_download = args.command != "folder"
    if may_download and args.download:
        if args.command == "coco" and args.test and args.split == "karpathy":
            raise ValueError(
                "Karpathy's split has test photos of its own, with captions; leave out --test, or "
                "use --split 2014 for the photos whose captions COCO keeps."
            )
    elif not args.source:
        or_download = ", or use --download" if may_download else ""
        raise ValueError(f"Give the folder of the photos with --from FOLDER{or_download}.")
    elif not args.source.is_dir():
        raise FileNotFoundError(f"{args.source} is not a folder. Give one with --from FOLDER.")


def prepare(args: argparse.Namespace) -> None:
    """Read the publisher's files and write them in COCO's layout."""
    check_arguments(args)
    if args.command != "folder" and args.download:
        download(args)
    if args.command == "flickr8k":
        collection = sources.flickr8k(args.source, args.karpathy_json)
    elif args.command == "flickr30k":
        collection = sources.flickr30k(args.source, args.karpathy_json)
    elif args.command == "coco":
        collection = sources.coco(args.source, args.split, args.karpathy_json)
    else:
        collection = sources.own_folder(args.source, args.csv)
    write_layout(collection, args.out, args.link, args.partial)
    if args.command == "coco":
        copy_boxes(args.source, args.out)


def check_data(data: Path, json_file: Path | None) -> bool:
    """Print a report on a prepared folder; return whether the data are fit to train on."""
    report = check(data)
    print(as_text(report))
    if json_file:
        with atomic_write(json_file, "w") as file:
            json.dump(asdict(report) | {"fit": report.fit}, file, indent=1)
    return report.fit


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("flickr8k", "flickr30k", "coco", "folder"):
        about = "prepare your own photos" if name == "folder" else f"prepare {name}"
        command = commands.add_parser(name, help=about)
        add = command.add_argument
        add("--from", dest="source", type=Path, help="folder of the publisher's files or photos")
        add("--out", type=Path, required=True, help="folder to write, such as data/flickr8k")
        add("--link", action="store_true", help="make hard links instead of copies")
        add("--partial", action="store_true", help="leave out missing or broken photos")
        if name == "folder":
            columns = "table with the columns image, caption and, optionally, split; - reads stdin"
            add("--csv", type=Path, required=True, help=columns)
            continue
        add("--karpathy-json", type=Path, help="dataset_*.json with Karpathy's split")
        add("--download", action="store_true", help="download it first, after asking")
        add("--yes", action="store_true", help="download without asking")
        if name == "coco":
            splits = ("2014", "2017", "karpathy")
            add("--split", choices=splits, help="default: the newest year in the folder")
            about = "download COCO's test photos too, whose captions are secret (6.7 GB)"
            add("--test", action="store_true", help=about)
    command = commands.add_parser("check", help="check whether data are fit to train on")
    command.add_argument("data", type=Path, help="prepared folder, such as data/flickr8k")
    command.add_argument("--json", type=Path, help="also write the report to this JSON file")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with cli_errors():
        if args.command == "check":
            sys.exit(0 if check_data(args.data, args.json) else 1)
        prepare(args)


if __name__ == "__main__":
    main()
