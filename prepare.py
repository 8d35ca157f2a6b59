"""Real photographs into the one layout that everything here reads, and a check of what is there.

    python prepare.py flickr8k --from FOLDER --out data/flickr8k
    python prepare.py flickr30k --from FOLDER --karpathy-json dataset_flickr30k.json --out ...
    python prepare.py coco --from FOLDER --out data/coco
    python prepare.py coco --download --split karpathy --out data/coco
    python prepare.py folder --from PHOTOS --csv captions.csv --out data/mine
    python prepare.py check data/flickr8k

    <out>/images/<split>/*.jpg    <out>/annotations/captions_<split>.json, in COCO's format

The photos come first, each whole or not at all, the annotations last: a run that was interrupted
has broken nothing, and the same command goes on with it.
"""

import argparse
import contextlib
import filecmp
import json
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from extras import publishers
from extras.check_data import as_text, check
from extras.download import ARCHIVES, fetch_all
from extras.publishers import Collection, Splits
from photos import FORMATS
from vocabulary import cli_errors, write_atomically

FLICKR30K_FORM = (
    "Flickr30k is given out on request: fill in the form at "
    "https://shannon.cs.illinois.edu/DenotationGraph/, unpack what you get, and use --from FOLDER."
)


def photo_size(path: Path) -> tuple[int, int]:
    """Width and height from the file's first bytes; `prepare.py check` reads all of it."""
    try:
        with Image.open(path, formats=FORMATS) as photo:
            return photo.size
    except (UnidentifiedImageError, SyntaxError, EOFError) as error:
        raise ValueError(f"{path} is no photo ({error}).") from None


def place(source: Path, target: Path, link: bool) -> None:
    """The photo at `target`, whole or not at all; one that is there already is left alone."""
    if target.exists() and filecmp.cmp(source, target, shallow=False):
        return
    if link:
        with contextlib.suppress(OSError):  # another disk, or one that knows no links: copy
            target.unlink(missing_ok=True)
            os.link(source, target)
            return
    with open(source, "rb") as photo, write_atomically(target) as file:
        shutil.copyfileobj(photo, file)


def usable(splits: Splits, partial: bool) -> Splits:
    """The photos that are there, can be opened, and have captions.

    Raises FileNotFoundError or ValueError where some are missing or no photos, unless `partial`;
    where two share a name or an id, so that one photo would be in two splits; where none is left.
    """
    names, ids, left_out = {}, set(), {"not there": [], "no photos": [], "without captions": []}
    kept = {}
    for split, photos in splits.items():
        for photo in tqdm(photos, desc=f"looking at {split}", disable=None):
            number = photo.record.get("id")
            if photo.name in names or number in ids:
                where = names.get(photo.name, "another photo's id")
                raise ValueError(f"{photo.name} is there twice: in {where} and in {split}.")
            names[photo.name] = split
            ids |= {number} - {None}
            if not photo.path.is_file():
                left_out["not there"].append(photo.path)
            elif not photo.captions:
                left_out["without captions"].append(photo.path)
            else:
                try:
                    width, height = photo_size(photo.path)
                except (OSError, ValueError):
                    left_out["no photos"].append(photo.path)
                else:
                    photo.record = {"width": width, "height": height, **photo.record}
                    kept.setdefault(split, []).append(photo)
    for what, paths in left_out.items():
        if paths and what != "without captions" and not partial:
            raise ValueError(
                f"{len(paths)} of {len(names)} photos are {what}, the first is {paths[0]}. "
                "Fetch them again, or add --partial to go on without."
            )
        if paths:
            print(f"note: left out {len(paths)} photos {what}, as {paths[0]}", file=sys.stderr)
    if not kept:
        raise ValueError("There is no photo with a caption. Check the folder that you gave.")
    return kept


def write_layout(collection: Collection, out: Path, link: bool, partial: bool) -> None:
    """Photos into `<out>/images/<split>/`, then `<out>/annotations/captions_<split>.json`.

    Ids are 1, 2, ... in the order of the splits, unless the publisher gave some.
    """
    contents, image_id, caption_id = {}, 0, 0
    for split, photos in usable(collection.splits, partial).items():
        images, annotations = [], []
        folder = out / "images" / split
        folder.mkdir(parents=True, exist_ok=True)
        for photo in tqdm(photos, desc=split, unit="photo", disable=None):
            image_id += 1
            image = {"id": image_id, "license": 1, **photo.record, "file_name": photo.name}
            images.append(image)
            for caption in photo.captions:
                caption_id += 1
                annotations.append({"id": caption_id, "image_id": image["id"], "caption": caption})
            place(photo.path, folder / photo.name, link)
        contents[split] = {
            "info": {"description": collection.description},
            "licenses": collection.licenses,
            "images": images,
            "annotations": annotations,
        }
    for split, content in contents.items():
        with write_atomically(out / "annotations" / f"captions_{split}.json", "w") as file:
            json.dump(content, file)
        print(f"{split}: {len(content['images'])} photos, {len(content['annotations'])} captions")


def copy_boxes(source: Path, out: Path) -> None:
    """COCO's official boxes beside the official captions, as they are."""
    for captions in (out / "annotations").glob("captions_*.json"):
        boxes = source / "annotations" / captions.name.replace("captions", "instances")
        if boxes.exists():
            place(boxes, out / "annotations" / boxes.name, link=False)


def collect(args: argparse.Namespace) -> Collection:
    """What the command line asks for, fetched first where it says so."""
    if args.command == "folder":
        return publishers.own_folder(args.source, args.csv)
    if args.download:
        if args.command == "flickr30k":
            raise ValueError(FLICKR30K_FORM)
        which = f"coco {args.split or 2017}" if args.command == "coco" else args.command
        args.source, args.link = args.out / "publisher", True
        fetch_all(ARCHIVES[which], args.source, args.yes)
        if which == "coco karpathy":
            args.karpathy_json = args.source / "dataset_coco.json"
        print(f"When all is done, {args.source} may be deleted.")
    if not args.source:
        raise ValueError("Give the publisher's folder by --from FOLDER, or use --download.")
    if args.command == "coco":
        return publishers.coco(args.source, args.split, args.karpathy_json)
    return getattr(publishers, args.command)(args.source, args.karpathy_json)


def parse_args() -> argparse.Namespace:
    whole = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=whole)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("flickr8k", "flickr30k", "coco", "folder"):
        command = commands.add_parser(name, help=f"prepare {name}" if name != "folder" else "yours")
        command.add_argument(
            "--from",
            dest="source",
            type=Path,
            help="folder with the publisher's files, or of your photos",
        )
        command.add_argument("--out", type=Path, required=True, help="as data/flickr8k")
        command.add_argument("--link", action="store_true", help="hard links rather than copies")
        command.add_argument("--partial", action="store_true", help="go on without missing photos")
        if name == "folder":
            command.add_argument("--csv", type=Path, required=True, help="image,caption[,split]")
            continue
        command.add_argument("--karpathy-json", type=Path, help="dataset_*.json, Karpathy's split")
        command.add_argument("--download", action="store_true", help="fetch it, after asking")
        command.add_argument("--yes", action="store_true", help="do not ask")
        if name == "coco":
            splits = ("2014", "2017", "karpathy")
            command.add_argument("--split", choices=splits, help="default: the newest there")
    command = commands.add_parser("check", help="is this data fit to train on?")
    command.add_argument("data", type=Path)
    command.add_argument("--json", type=Path, help="write the report as JSON, too")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with cli_errors():
        if args.command == "check":
            report = check(args.data)
            print(as_text(report))
            if args.json:
                with write_atomically(args.json, "w") as file:
                    json.dump(asdict(report) | {"fit": report.fit}, file, indent=1)
            sys.exit(0 if report.fit else 1)
        write_layout(collect(args), args.out, args.link, args.partial)
        if args.command == "coco":
            copy_boxes(args.source, args.out)


if __name__ == "__main__":
    main()
