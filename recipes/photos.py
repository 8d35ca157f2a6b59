"""Train the captioner of photographs that is shipped in models/photos.

    python prepare.py flickr8k --from FOLDER --out data/flickr8k
    python prepare.py coco --from FOLDER --out data/coco
    python -m recipes.photos --flickr8k data/flickr8k --coco data/coco [data/more_coco ...]

Flickr8k's 6,000 training photos show people and dogs outdoors; a few COCO photos add rooms, food
and animals, and an epoch passes three times through them. COCO's val photos are split by their ids:
the even ones help to choose the epoch, the odd ones choose nothing and are kept for the test.

The run can be interrupted: the same command continues it. At the end the pair is stored in half
precision, with all that `caption.py` needs, and the scores of every epoch beside it.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from captioning.data.coco import find_split, has_split, read_captions
from captioning.data.layout import write_layout
from captioning.data.sources import Collection, SourcePhoto
from captioning.files import cli_errors, read_json
from captioning.inference.serialization import load_part, save
from captioning.training.config import TrainConfig
from captioning.training.self_critical import complete_run
from train import train

OPTIONS: dict[str, Any] = {  # how they were found: benchmarks/results.md
    "passes": (1, 3),
    "vocab_threshold": 4,
    "backbone": "efficientnet_lite2",
    "image_size": 300,
    "tta": True,
    "tta_scale": 1.2,
    "views": 6,
    "decoder": "transformer",
    "embed_size": 512,
    "num_layers": 2,
    "dropout": 0.3,
    "tie_weights": True,
    "num_epochs": 12,
    "optimizer": "adamw",
    "lr": 7e-4,
    "weight_decay": 0.05,
    "schedule": "onecycle",
    "label_smoothing": 0.1,
    "ema_decay": 0.999,
    "self_critical_epochs": 10,
}
PARITIES = ("val", "test")  # of even and of odd ids of COCO's val


def mix(folders: list[Path], out: Path) -> None:
    """Write the training photos of COCO folders, and the even and odd ones of val, as one folder.

    Nothing is done where `out` has them already. Raises FileNotFoundError, one sentence, where a
    folder is missing or has no captions.
    """
    if (out / "annotations" / "captions_test.json").is_file():
        return
    splits: dict[str, list[SourcePhoto]] = {"train": [], "val": [], "test": []}
    licenses: list[dict[str, Any]] = []
    for folder in folders:
        present = [split for split in ("train", "val") if has_split(folder, split)]
        for split in present or ["train"]:  # without any: reading says what is missing
            content, captions = (
                read_json(find_split(folder, split)[0]),
                read_captions(folder, split),
            )
            licenses = content.get("licenses", licenses)
            license_of = {image["id"]: image.get("license") for image in content["images"]}
            references = captions.references()
            for photo in captions.photos:
                target = split if split == "train" else PARITIES[int(photo.id) % 2]
                record = {"id": photo.id, "license": license_of[photo.id]}
                splits[target].append(SourcePhoto(photo.path, references[photo.id], record))
    write_layout(
        Collection("a few photos of COCO", licenses, splits), out, link=True, partial=False
    )


def store_half(pair: Path, out: Path) -> None:
    """Copy a pair of files with its weights in half precision; loading makes them float32 again."""
    for part in ("encoder", "decoder"):
        content = load_part(pair / f"{part}.pkl", part)
        halves: dict[int, Tensor] = {}  # tied weights stay one tensor, and are saved once
        content["state_dict"] = {
            name: halves.setdefault(weight.data_ptr(), weight.half())
            if weight.is_floating_point()
            else weight
            for name, weight in content["state_dict"].items()
        }
        out.mkdir(parents=True, exist_ok=True)
        save(out / f"{part}.pkl", content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flickr8k", default="data/flickr8k", help="prepared folder (%(default)s)")
    parser.add_argument(
        "--coco", nargs="+", type=Path, default=[Path("data/coco")],
        help="prepared folders; their val photos are split into val and test (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--mixed", type=Path, default=Path("data/coco_few"),
                        help="folder for the few photos of COCO (%(default)s)")  # fmt: skip
    parser.add_argument("--run", default="runs/photos", help="folder of the run (%(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("models/photos"), help="folder of the pair (%(default)s)"
    )
    args = parser.parse_args()
    with cli_errors():
        mix(args.coco, args.mixed)
        resume = Path(args.run, "checkpoint.pkl").is_file()
        data = (args.flickr8k, str(args.mixed))
        config = TrainConfig(data=data, out=args.run, resume=resume, **OPTIONS)
        train(config)
        complete_run(Path(args.run), config.self_critical_epochs, config.self_critical_rounds)
        store_half(Path(args.run, "best"), args.out)
        shutil.copyfile(Path(args.run, "history.csv"), args.out / "history.csv")
        print(f"{args.out}: the pair of {args.run}/best, in half precision")


if __name__ == "__main__":
    main()
