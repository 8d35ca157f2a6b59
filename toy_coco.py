"""Draw the embedded dataset: 2,600 small scenes in COCO's layout and format, in a minute.

    python toy_coco.py --out data/toy --seed 0

    draw(out, seed, sizes)          draws the whole dataset, or reuses a complete one
    scene(seed, split, index)       one scene in memory: picture, ground truth, map of the things
    grade(captions, scenes)         checks captions against the ground truth

Beside COCO's files stands `scenes_<split>.json`, the ground truth of each picture:

    {"info": {...}, "scenes": [{
      "image_id": 1, "file_name": "COCO_train2014_000000000001.jpg",
      "setting": "park", "setting_words": ["park"],    # words that name it in a caption
      "things": [{
        "id": 1,                                       # 10 * image_id + id in instances_<split>
        "kind": "woman", "category": "person",         # the category is COCO's
        "color": "red",                                # of people's clothes, of a plant's pot
        "pose": "sit",                                 # stand, hold, held, ride, sit, fly
        "box": [x, y, width, height], "area": 2310,    # in pixels, of the visible part
        "words": ["woman", "lady", "person", ...]      # that name it, singular and plural
      }, ...],
      "counts": {"bench": 1, "woman": 1},              # by kind
      "largest": 1,                                    # id of the thing with the largest area
      "relations": [{"subject": 1, "relation": "on", "object": 2}, ...],  # see toy/captions.py
      "unseen": []                                     # ids of things whose pair of kind and
    }, ...]}                                           # color never occurs in training

The same seed gives the same JSON on every machine, byte for byte, and with the same OpenCV the same
pictures. How scenes are drawn and described is in the folder `captioning/toy`.
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
from typing import Any

import cv2

from captioning.files import atomic_write, cli_errors, read_json
from captioning.toy.canvas import area_of, outlines
from captioning.toy.captions import captions
from captioning.toy.grading import grade, grade_caption
from captioning.toy.kinds import KINDS
from captioning.toy.scenes import scene

__all__ = ["draw", "grade", "grade_caption", "scene"]

SPLITS = {"train2014": 0, "val2014": 100_000, "test2014": 200_000}  # image ids count from here
SIZES = (2000, 300, 300)
DRAWING = 3  # version of the dataset: raise it when the same seed gives other files
UNSEEN_EVERY = 7  # every seventh test picture has a pair of kind and color that training lacks
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
CATEGORIES: list[dict[str, Any]] = [
    {"supercategory": supercategory, "id": CATEGORY_IDS[category], "name": category}
    for category, supercategory in dict.fromkeys(
        (kind.category, kind.supercategory) for kind in KINDS.values()
    )
]
CATEGORIES.sort(key=lambda category: category["id"])
Task = tuple[str, int, str, int]  # folder of the dataset, seed, split, index


def draw(
    out: str | os.PathLike = "data/toy",
    seed: int = 0,
    sizes: tuple[int, int, int] = SIZES,
    workers: int | None = None,
) -> Path:
    """Draw `sizes` pictures for training, validation and test into `out`; return the folder.

    A complete dataset is reused. The annotations are written last, so a drawing that was
    interrupted is recognized and done again. `workers` is the number of processes (None: one per
    core; 1: this process alone). Raises ValueError where `out` holds another dataset.
    """
    if len(sizes) != len(SPLITS) or min(sizes) < 1:
        raise ValueError(f"sizes must be three numbers of pictures, each at least 1, not {sizes}.")
    out, start = Path(out), time.monotonic()
    info = {**INFO, "drawn": {"drawing": DRAWING, "seed": seed, "sizes": list(sizes)}}
    total = f"{sum(sizes):,} drawn scenes of seed {seed}"
    if is_complete(out, info):
        print(f"{out}: {total}, drawn already")
        return out
    for path in annotation_files(out):
        path.unlink(missing_ok=True)
    tasks = [
        (str(out), seed, split, index)
        for split, size in zip(SPLITS, sizes, strict=True)
        for index in range(size)
    ]
    scenes: dict[str, list[dict]] = {split: [] for split in SPLITS}
    for (_, _, split, _), drawn in zip(tasks, draw_all(tasks, workers), strict=True):
        scenes[split].append(drawn)
    for split, entries in scenes.items():
        names = {entry["image"]["file_name"] for entry in entries}
        for picture in (out / "images" / split).glob("COCO_*.jpg"):
            if picture.name not in names:  # left over from a larger dataset
                picture.unlink()
        write_annotations(out / "annotations", split, info, entries)
    print(f"{out}: {total} in {time.monotonic() - start:.0f} s")
    return out


def annotation_files(out: Path) -> list[Path]:
    names = [f"{kind}_{split}" for split in SPLITS for kind in ("captions", "instances", "scenes")]
    return [out / "annotations" / f"{name}.json" for name in [*names, "image_info_test2014"]]


def is_complete(out: Path, info: dict) -> bool:
    """Return whether `out` holds the dataset of `info`; ValueError if it holds another one."""
    complete = True
    for path in annotation_files(out):
        if not path.exists():
            complete = False
            continue
        content = read_json(path)
        found = content.get("info", {})
        if "drawn" not in found:
            raise ValueError(f"{path} belongs to another dataset. Choose another folder.")
        complete = complete and found == info
        split = path.stem.rpartition("_")[2]
        for image in content.get("images", []) if complete else []:
            complete = complete and (out / "images" / split / image["file_name"]).exists()
    return complete


def draw_all(tasks: list[Task], workers: int | None) -> Iterator[dict]:
    """Yield `draw_scene(task)` in order, from other processes where these can be started."""
    done = 0
    workers = workers or os.cpu_count() or 1
    if workers > 1 and len(tasks) > 50:
        try:
            with ProcessPoolExecutor(workers) as pool:
                for entries in pool.map(draw_scene, tasks, chunksize=20):
                    yield entries
                    done += 1
        except (OSError, BrokenProcessPool, NotImplementedError):
            print(f"no worker processes here: this one draws {len(tasks) - done:,} scenes")
    for task in tasks[done:]:
        yield draw_scene(task)


def draw_scene(task: Task) -> dict:
    """Draw one scene and write its picture; return its entries for the annotation files."""
    out, seed, split, index = task
    unseen = split == "test2014" and index % UNSEEN_EVERY == 0
    image, record, ids = scene(seed, split, index, unseen)
    found = captions(record, random.Random(f"{seed} {split} {index} captions"))
    image_id = SPLITS[split] + index + 1
    name = f"COCO_{split}_{image_id:012d}.jpg"
    folder = Path(out, "images", split)
    folder.mkdir(parents=True, exist_ok=True)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
    jpeg = cv2.imencode(".jpg", image[:, :, ::-1], quality)[1]
    (folder / name).write_bytes(jpeg.tobytes())  # not atomic: the annotations come last
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
            for number, caption in enumerate(found, 1)
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
    all_captions = [caption for entry in entries for caption in entry["captions"]]
    instances = [instance for entry in entries for instance in entry["instances"]]
    categories = {"categories": CATEGORIES}
    files = {
        f"captions_{split}": head | {"annotations": all_captions},
        f"instances_{split}": head | {"annotations": instances} | categories,
        f"scenes_{split}": {"info": info, "scenes": [entry["scene"] for entry in entries]},
    }
    if split.startswith("test"):
        files[f"image_info_{split}"] = head | categories
    for name, content in files.items():
        with atomic_write(folder / f"{name}.json", "w") as file:
            json.dump(content, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="data/toy", help="folder of the dataset (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (%(default)s)")
    sizes = "numbers of pictures for training, validation and test"
    parser.add_argument("--sizes", type=int, nargs=3, default=SIZES, help=sizes)
    with cli_errors():
        arguments = parser.parse_args()
        draw(arguments.out, arguments.seed, tuple(arguments.sizes))


if __name__ == "__main__":
    main()
