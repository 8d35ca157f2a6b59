"""Let one captioner describe pictures without captions, for another one to learn from.

    python toy_coco.py --out data/more --seed 1 --sizes 6000 1 1
    python -m recipes.distill --photos data/more/images/train2014 --run models/toy-attention \\
        --out data/described
    python train.py --data data/toy data/described --decoder lstm ...

A captioner often fails for want of examples, not of capacity: the LSTM that sees only the mean over
all places confuses which color belongs to which object, because it meets each combination too
rarely. A better captioner, the teacher, can describe any number of further pictures. They need no
captions: none of those that `toy_coco.py` writes is read here.

The student learns from whole captions that the teacher's beam search finds best, which works better
than matching its probabilities word by word: Kim & Rush 2016, "Sequence-Level Knowledge
Distillation", arXiv:1606.07947. The student learns the teacher's mistakes as well; when you report
its scores, name its teacher.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from caption import find_photos
from captioning.data.layout import write_layout
from captioning.data.sources import UNKNOWN_LICENSES, Collection, SourcePhoto
from captioning.files import cli_errors
from captioning.inference.captioner import Captioner


def describe_photos(
    captioner: Captioner, paths: Iterable[Path], captions: int, beam_size: int
) -> Iterator[SourcePhoto]:
    """Yield each readable photo with the `captions` that the captioner finds best."""
    options = {"beam_size": max(beam_size, captions), "n_best": captions}
    for path, found in captioner.caption_stream(paths, **options):
        if isinstance(found, str):
            print(f"left out: {found}", file=sys.stderr)
            continue
        texts = dict.fromkeys(as_sentence(caption.text) for caption in found)  # without repeats
        yield SourcePhoto(path, [text for text in texts if text])


def as_sentence(text: str) -> str:
    """Return the caption as people write it: a capital first letter, a full stop."""
    return f"{text[0].upper()}{text[1:]}." if text else ""


def distill(photos: list[str], run: Path, out: Path, captions: int, beam_size: int) -> int:
    """Write the photos with the captions of the captioner in `run`; return how many photos.

    The folder `out` has COCO's layout, with one split, "train": its captions are not ground truth,
    so nothing can be validated on them. Photos are linked, not copied, where the disk allows it.
    """
    if captions < 1:
        raise ValueError("captions must be 1 or more for each photo.")
    captioner = Captioner.load(run / "encoder.pkl", run / "decoder.pkl")
    paths = find_photos(photos)
    progress = tqdm(
        describe_photos(captioner, paths, captions, beam_size), total=len(paths), disable=None
    )
    collection = Collection(f"described by {run.name}", UNKNOWN_LICENSES, {"train": list(progress)})
    write_layout(collection, out, link=True, partial=False)
    return len(collection.splits["train"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", nargs="+", required=True, help="photos, or folders of them")
    parser.add_argument(
        "--run", default="models/toy-attention", help="folder of the teacher's pair (%(default)s)"
    )
    parser.add_argument("--out", required=True, help="folder for the photos with its captions")
    parser.add_argument(
        "--captions", type=int, default=3, help="captions of each photo (%(default)s)"
    )
    parser.add_argument(
        "--beam-size", type=int, default=5, help="beam size of the search (%(default)s)"
    )
    args = parser.parse_args()
    with cli_errors():
        distill(args.photos, Path(args.run), Path(args.out), args.captions, args.beam_size)


if __name__ == "__main__":
    main()
