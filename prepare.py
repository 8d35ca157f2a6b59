"""Prepare photographs: turn them into the folder that everything else reads, or check one.

    python prepare.py flickr8k --from FOLDER --out data/flickr8k
    python prepare.py flickr30k --from FOLDER --karpathy-json dataset_flickr30k.json --out ...
    python prepare.py coco --download --split karpathy --out data/coco
    python prepare.py coco --download --split 2014 --test --out data/coco
    python prepare.py folder --from PHOTOS --csv captions.csv --out data/mine
    python prepare.py check data/flickr8k
    python prepare.py shards data/coco --out shards

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
from captioning.data.shards import write_shards
from captioning.files import atomic_write, cli_errors

HELP = """Turn photographs with captions into a folder that train.py reads, or check such a folder.

    python prepare.py flickr8k --download --out data/flickr8k
    python prepare.py folder --from PHOTOS --csv captions.csv --out data/mine

`python prepare.py flickr8k --help` explains the options for Flickr8k, and so on."""
SOURCES = {
    "flickr8k": "Flickr8k: 8,000 photos with five captions each, 1 GB",
    "flickr30k": "Flickr30k: 31,000 photos with five captions each, given out on request",
    "coco": "COCO: 123,000 photos with five captions each, 20 GB",
    "folder": "photos of your own, with a table of captions",
}
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
    if args.test:
        archives = archives + ARCHIVES[f"coco test {args.split or 2017}"]
    fetch_all(archives, args.source, args.yes)
    if name == "coco karpathy":
        args.karpathy_json = args.source / "dataset_coco.json"
    print(f"When this has finished, you may delete {args.source}.")


def check_arguments(args: argparse.Namespace) -> None:
    """Raise ValueError where the arguments contradict each other."""
    if args.download:
        if args.test and args.split == "karpathy":
            raise ValueError(
                "Karpathy's split has test photos of its own, with captions; leave out --test, or "
                "use --split 2014 for the photos whose captions COCO keeps."
            )
    elif not args.source:
        or_download = "" if args.command == "folder" else ", or use --download"
        raise ValueError(f"Give the folder of the photos with --from FOLDER{or_download}.")
    elif not args.source.is_dir():
        raise FileNotFoundError(f"{args.source} is not a folder. Give one with --from FOLDER.")


def prepare(args: argparse.Namespace) -> None:
    """Read the publisher's files and write them in COCO's layout."""
    check_arguments(args)
    if args.download:
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
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=HELP, formatter_class=raw)
    parser.set_defaults(download=False, test=False)  # where a source does not have these options
    commands = parser.add_subparsers(
        title="datasets", dest="command", required=True, metavar="NAME"
    )
    for name, about in SOURCES.items():
        command = commands.add_parser(name, help=about, description=f"Prepare {about}.")
        add = command.add_argument
        where = "folder of the photos" + ("" if name == "folder" else ", if you have them already")
        add("--from", dest="source", metavar="FOLDER", type=Path, help=where)
        written = "folder to write, such as data/mine; train.py takes it as --data"
        add("--out", metavar="FOLDER", type=Path, required=True, help=written)
        add("--link", action="store_true", help="make hard links to the photos instead of copies")
        add("--partial", action="store_true", help="leave out missing or broken photos")
        if name == "folder":
            columns = "table with the columns image, caption and, optionally, split; - reads stdin"
            add("--csv", metavar="FILE", type=Path, required=True, help=columns)
            continue
        add("--download", action="store_true", help="download the photos first, after asking")
        add("--yes", action="store_true", help="download without asking")
        karpathy = "dataset_*.json, for the splits of Karpathy that papers report on"
        add("--karpathy-json", metavar="FILE", type=Path, help=karpathy)
        if name == "coco":
            splits = ("2014", "2017", "karpathy")
            add("--split", choices=splits, help="default: the newest year in the folder")
            secret = "download COCO's test photos too, whose captions are secret (6.7 GB)"
            add("--test", action="store_true", help=secret)
    about = "a folder that is prepared: are its photos and captions fit to train on?"
    command = commands.add_parser("check", help=about, description=f"Check {about}")
    command.add_argument("data", metavar="FOLDER", type=Path, help="such as data/flickr8k")
    report = "also write the report to this JSON file"
    command.add_argument("--json", metavar="FILE", type=Path, help=report)
    about = "a folder that is prepared as tars of 1,000 photos, to be read in sequence"
    command = commands.add_parser("shards", help=about, description=f"Write {about}.")
    command.add_argument("data", metavar="FOLDER", type=Path, help="such as data/coco")
    written = "folder to write, such as shards; train.py takes 'shards/*.tar' as --data"
    command.add_argument("--out", metavar="FOLDER", type=Path, required=True, help=written)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with cli_errors():
        if args.command == "check":
            sys.exit(0 if check_data(args.data, args.json) else 1)
        if args.command == "shards":
            write_shards(args.data, args.out)
        else:
            prepare(args)


if __name__ == "__main__":
    main()
