"""Hold out a part of the training photos, so that val need not choose every option.

    python benchmarks/folds.py --data data/flickr8k --fold 0 --out data/fold0
    python train.py --data data/fold0 --cache-dir data/flickr8k/features --recipe best --out ...

A development split that chose the decoder, the rate, the epoch and the beam says little about new
photos. Here every sixth training photo becomes the split val of another folder; the others stay.
The split train still lists the photos that are held out, without captions: the list of photos is
the same, so features that were computed once serve all folds.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from captioning.data.annotations import read_annotations
from captioning.data.coco import find_split
from captioning.data.layout import copy_or_link
from captioning.files import atomic_write, cli_errors
from captioning.text import plural


def hold_out(data: Path, out: Path, fold: int, folds: int) -> None:
    """Write the training photos of `data`, with each `folds`-th from `fold` on as the split val."""
    path, folder = find_split(data, "train")
    annotations = read_annotations(path)
    names = annotations.file_names()
    held = set(list(names)[fold::folds])
    for split, listed in (("train", set(names)), ("val", held)):
        captioned = held if split == "val" else listed - held
        (out / "images" / split).mkdir(parents=True, exist_ok=True)
        for image in listed:
            copy_or_link(folder / names[image], out / "images" / split / names[image], link=True)
        found = [(i, text) for i, text in annotations.captions if i in captioned]
        content = {
            "images": [image for image in annotations.images if image["id"] in listed],
            "annotations": [
                {"id": number, "image_id": image, "caption": text}
                for number, (image, text) in enumerate(found)
            ],
        }
        with atomic_write(out / "annotations" / f"captions_{split}.json", "w") as file:
            json.dump(content, file)
        print(f"{split}: {plural(len(captioned), 'photo')}, {plural(len(found), 'caption')}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder in COCO's layout")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--fold", type=int, default=0, help="which part (%(default)s)")
    parser.add_argument("--folds", type=int, default=6, help="number of parts (%(default)s)")
    args = parser.parse_args()
    if not 0 <= args.fold < args.folds:
        sys.exit(f"error: --fold must be 0 to {args.folds - 1}")
    with cli_errors():
        hold_out(args.data, args.out, args.fold, args.folds)


if __name__ == "__main__":
    main()
