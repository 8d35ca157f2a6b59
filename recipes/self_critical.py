"""Fine-tune a finished run on CIDEr itself: `python -m recipes.self_critical --run models/flickr8k`

`train.py --self-critical-epochs N` does the same at the end of a run; here are the options of the
stage itself. See captioning/training/self_critical.py.
"""

import argparse
from pathlib import Path

from captioning.distributed import init_distributed
from captioning.files import cli_errors
from captioning.training.self_critical import fine_tune_on_cider


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Fine-tune a finished run on CIDEr.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--run", required=True, type=Path, help="folder of a finished run")
    parser.add_argument("--num-epochs", type=int, default=3, help="epochs to add")
    parser.add_argument("--lr", type=float, default=6e-5, help="learning rate")
    parser.add_argument("--batch-size", type=int, default=50, help="photos per step")
    parser.add_argument(
        "--samples-per-image", type=int, default=5, help="captions drawn for each photo"
    )
    args = parser.parse_args()
    with cli_errors(), init_distributed():
        fine_tune_on_cider(
            args.run, args.num_epochs, args.lr, args.batch_size, args.samples_per_image
        )


if __name__ == "__main__":
    main()
