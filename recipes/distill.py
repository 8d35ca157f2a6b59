"""Lets one captioner describe pictures that nobody described, for another one to learn from.

    python toy_coco.py --out data/more --seed 1 --sizes 6000 1 1
    python -m extras.distil --photos data/more/images/train2014 --run models/toy-attention \\
        --out data/described
    python train.py --data data/toy data/described --decoder lstm ...

A small or blind captioner often fails for want of examples, not of room: the LSTM that sees only
the average place of a picture mixes up which colour belongs to which thing, because it meets each
combination too seldom. A better captioner, the teacher, can describe as many further pictures as
one likes. They need no captions: none of those that `toy_coco.py` writes is read here.

The student learns from whole captions that the teacher's beam search finds best, which works better
than copying its probabilities word by word: Kim & Rush 2016, "Sequence-Level Knowledge
Distillation", arXiv:1606.07947. What the teacher gets wrong the student learns as well, and whoever
reports the student's scores should say who taught it.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from caption import Captioner, find_photos
from extras.publishers import OWN, Collection, Photo
from prepare import write_layout
from vocabulary import cli_errors


def described(
    captioner: Captioner, paths: Iterable[Path], captions: int, beam_size: int
) -> Iterator[Photo]:
    """Each photo that can be read, with the `captions` that the captioner finds best."""
    options = {"beam_size": max(beam_size, captions), "n_best": captions}
    for path, found in captioner.stream(paths, **options):
        if isinstance(found, str):
            print(f"left out: {found}", file=sys.stderr)
            continue
        texts = dict.fromkeys(as_sentence(caption.text) for caption in found)  # each once
        yield Photo(path, [text for text in texts if text])


def as_sentence(text: str) -> str:
    """The first letter large and a full stop, as people write captions."""
    return f"{text[0].upper()}{text[1:]}." if text else ""


def distil(photos: list[str], run: Path, out: Path, captions: int, beam_size: int) -> int:
    """Writes the photos with the captions of the captioner in `run`; returns how many photos.

    The folder `out` has COCO's layout, with one split, "train": there is nothing in it to be
    judged by. Photos are linked, not copied, where the disk allows it.
    """
    if captions < 1:
        raise ValueError("captions must be 1 or more for each photo.")
    captioner = Captioner.load(run / "encoder.pkl", run / "decoder.pkl")
    paths = find_photos(photos)
    progress = tqdm(
        described(captioner, paths, captions, beam_size), total=len(paths), disable=None
    )
    collection = Collection(f"described by {run.name}", OWN, {"train": list(progress)})
    write_layout(collection, out, link=True, partial=False)
    return len(collection.splits["train"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", nargs="+", required=True, help="photos, or folders of them")
    parser.add_argument(
        "--run", default="models/toy-attention", help="folder of the teacher's pair"
    )
    parser.add_argument("--out", required=True, help="folder for the photos with its captions")
    parser.add_argument("--captions", type=int, default=3, help="for each photo (%(default)s)")
    parser.add_argument("--beam-size", type=int, default=5, help="of the search (%(default)s)")
    args = parser.parse_args()
    with cli_errors():
        distil(args.photos, Path(args.run), Path(args.out), args.captions, args.beam_size)


if __name__ == "__main__":
    main()
