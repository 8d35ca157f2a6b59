"""Draws the embedded dataset: 2,600 small scenes in COCO's own layout and format, in a minute.

    python toy_coco.py --out data/toy --seed 0

    draw(out, seed, sizes)          the whole dataset; what is there already is reused
    scene(seed, split, index)       one scene in memory: picture, truth, map of which thing is where
    mark(captions, scenes)          how much of what captions say is so

Beside COCO's files there is `scenes_<split>.json`, the truth about each picture:

    {"info": {...}, "scenes": [{
      "image_id": 1, "file_name": "COCO_train2014_000000000001.jpg",
      "setting": "park", "setting_words": ["park"],    # any of these words in a caption means it
      "things": [{
        "id": 1,                                       # 10 * image_id + id in instances_<split>
        "kind": "woman", "category": "person",         # the category is COCO's
        "colour": "red",                               # of people's clothes, of a plant's pot
        "pose": "sit",                                 # stand, hold, held, ride, sit, fly
        "box": [x, y, width, height], "area": 2310,    # pixels that can be seen
        "words": ["woman", "lady", "person", ...]      # every word, one or many, that names it
      }, ...],
      "counts": {"bench": 1, "woman": 1},              # by kind
      "largest": 1,                                    # id of the thing with the largest area
      "relations": [{"subject": 1, "relation": "on", "object": 2}, ...],   # see toy/captions.py
      "unseen": []                                     # ids of things in a colour that training
    }, ...]}                                           # never shows them in

The same seed gives the same JSON everywhere, byte for byte, and with the same OpenCV the same
pictures. How scenes are drawn and described is in the folder `toy`.
"""

import argparse
import json
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2

from toy.captions import captions
from toy.drawing import area_of, outlines
from toy.kinds import KINDS
from toy.marks import mark, mark_caption
from toy.scenes import scene
from vocabulary import cli_errors, read_json, write_atomically

__all__ = ["draw", "mark", "mark_caption", "scene"]

SPLITS = {"train2014": 0, "val2014": 100_000, "test2014": 200_000}  # and where image ids begin
SIZES = (2000, 300, 300)
DRAWING = 2  # goes up when the same seed draws something else, so that old sets are drawn anew
UNSEEN_EVERY = 7  # each seventh test picture has a kind in a colour that training never shows
INFO = {
    "description": "Drawn scenes for a course on image captioning",
    "url": "",
    "version": "1.0",
    "year": 2026,
    "contributor": "toy_coco.py",
    "date_created": "2026/11/21",
}
LICENSES = [
    {"id": 1, "name": "CC0 1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}
]
CATEGORY_IDS = {
    "person": 1, "bicycle": 2, "car": 3, "bus": 6, "boat": 9, "bench": 15, "bird": 16, "cat": 17,
    "dog": 18, "horse": 19, "sheep": 20, "umbrella": 28, "sports ball": 37, "kite": 38, "chair": 62,
    "couch": 63, "potted plant": 64, "teddy bear": 88, "balloon": 91,
}  # fmt: skip
CATEGORIES = [
    {"supercategory": supercategory, "id": CATEGORY_IDS[category], "name": category}
    for category, supercategory in dict.fromkeys(
        (kind.category, kind.supercategory) for kind in KINDS.values()
    )
]
CATEGORIES.sort(key=lambda category: category["id"])


def draw(
    out: str | os.PathLike = "data/toy",
    seed: int = 0,
    sizes: tuple[int, int, int] = SIZES,
    workers: int | None = None,
) -> Path:
    """Draw `sizes` pictures for training, validation and test into `out`, unless they are there.

    The annotations are written last, so a draw that was interrupted is done again, and a complete
    one is recognised. `workers` processes draw (None: one per core, 1: none beside this one).
    Raises ValueError where `out` holds a dataset of another kind.
    """
    if len(sizes) != len(SPLITS) or min(sizes) < 1:
        raise ValueError(f"sizes are three numbers of pictures, each at least 1, not {sizes}.")
    out, start = Path(out), time.monotonic()
    info = {**INFO, "drawn": {"drawing": DRAWING, "seed": seed, "sizes": list(sizes)}}
    total = f"{sum(sizes):,} drawn scenes of seed {seed}"
    if is_complete(out, info):
        print(f"{out}: {total} are here already")
        return out
    for path in annotation_files(out):
        path.unlink(missing_ok=True)
    tasks = [
        (str(out), seed, split, index)
        for split, size in zip(SPLITS, sizes, strict=True)
        for index in range(size)
    ]
    scenes: dict[str, list] = {split: [] for split in SPLITS}
    for task, entries in zip(tasks, in_parallel(tasks, workers), strict=True):
        scenes[task[2]].append(entries)
    for split, entries in scenes.items():
        names = {entry["image"]["file_name"] for entry in entries}
        for left_over in (out / "images" / split).glob("COCO_*.jpg"):
            if left_over.name not in names:
                left_over.unlink()
        write_annotations(out / "annotations", split, info, entries)
    print(f"{out}: {total} in {time.monotonic() - start:.0f} s")
    return out


def annotation_files(out: Path) -> list[Path]:
    names = [f"{kind}_{split}" for split in SPLITS for kind in ("captions", "instances", "scenes")]
    return [out / "annotations" / f"{name}.json" for name in [*names, "image_info_test2014"]]


def is_complete(out: Path, info: dict) -> bool:
    """Whether `out` holds all that `info` promises; ValueError if it holds something else."""
    complete = True
    for path in annotation_files(out):
        if not path.exists():
            complete = False
            continue
        content = read_json(path)
        found = content.get("info", {})
        if "drawn" not in found:
            raise ValueError(f"{path} is not of the drawn dataset. Choose another folder for it.")
        complete = complete and found == info
        split = path.stem.rpartition("_")[2]
        for image in content.get("images", []) if complete else []:
            complete = complete and (out / "images" / split / image["file_name"]).exists()
    return complete


def in_parallel(tasks: list[tuple], workers: int | None) -> Iterator[dict]:
    """`draw_one` of each task, in order; in this process where others cannot be started."""
    done = 0
    workers = workers or os.cpu_count() or 1
    if workers > 1 and len(tasks) > 50:
        try:
            with ProcessPoolExecutor(workers) as pool:
                for entries in pool.map(draw_one, tasks, chunksize=20):
                    yield entries
                    done += 1
        except (OSError, BrokenProcessPool, NotImplementedError):
            print(
                f"no further processes can be started; {len(tasks) - done:,} scenes are drawn here"
            )
    for task in tasks[done:]:
        yield draw_one(task)


def draw_one(task: tuple[str, int, str, int]) -> dict:
    """Draw one scene, write its picture, return its entries for the annotation files."""
    out, seed, split, index = task
    unseen = split == "test2014" and index % UNSEEN_EVERY == 0
    image, record, ids = scene(seed, split, index, unseen)
    said = captions(record, random.Random(f"{seed} {split} {index} captions"))
    image_id = SPLITS[split] + index + 1
    name = f"COCO_{split}_{image_id:012d}.jpg"
    folder = Path(out, "images", split)
    folder.mkdir(parents=True, exist_ok=True)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
    jpeg = cv2.imencode(".jpg", image[:, :, ::-1], quality)[1]
    (folder / name).write_bytes(
        jpeg.tobytes()
    )  # no picture counts before the annotations are there
    return {
        "image": {
            "license": 1,
            "file_name": name,
            "coco_url": f"images/{split}/{name}",
            "height": image.shape[0],
            "width": image.shape[1],
            "date_captured": "2026-11-21 00:00:00",
            "flickr_url": "",
            "id": image_id,
        },
        "captions": [
            {"image_id": image_id, "id": 10 * image_id + number, "caption": caption}
            for number, caption in enumerate(said, 1)
        ],
        "instances": [
            {
                "segmentation": (polygons := outlines(ids == thing["id"])),
                "area": area_of(polygons),
                "iscrowd": 0,
                "image_id": image_id,
                "bbox": thing["box"],
                "category_id": CATEGORY_IDS[thing["category"]],
                "id": 10 * image_id + thing["id"],
            }
            for thing in record["things"]
        ],
        "scene": {"image_id": image_id, "file_name": name, **record},
    }


def write_annotations(folder: Path, split: str, info: dict, entries: list[dict]) -> None:
    head = {"info": info, "images": [entry["image"] for entry in entries], "licenses": LICENSES}
    said = [caption for entry in entries for caption in entry["captions"]]
    instances = [instance for entry in entries for instance in entry["instances"]]
    categories = {"categories": CATEGORIES}
    files = {
        f"captions_{split}": head | {"annotations": said},
        f"instances_{split}": head | {"annotations": instances} | categories,
        f"scenes_{split}": {"info": info, "scenes": [entry["scene"] for entry in entries]},
    }
    if split.startswith("test"):
        files[f"image_info_{split}"] = head | categories
    for name, content in files.items():
        with write_atomically(folder / f"{name}.json", "w") as file:
            json.dump(content, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="data/toy", help="the dataset's folder (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other scenes")
    sizes = "pictures for training, validation and test"
    parser.add_argument("--sizes", type=int, nargs=3, default=SIZES, help=sizes)
    with cli_errors():
        arguments = parser.parse_args()
        draw(arguments.out, arguments.seed, tuple(arguments.sizes))


if __name__ == "__main__":
    main()
