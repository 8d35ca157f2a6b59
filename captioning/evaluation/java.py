"""The scores that need Java: pycocoevalcap's whole pipeline, with METEOR and SPICE.

ptb_tokens    captions -> the tokens of Stanford's PTB tokenizer, as papers score them
java_scores   {image id: captions} -> scores, times 100
"""

import importlib.util
import shutil
import sys
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from captioning.evaluation.scores import Captions, References, Scores


def require_java() -> None:
    """Raise ValueError where Java or pycocoevalcap is not installed."""
    if not shutil.which("java"):
        raise ValueError("METEOR and SPICE need Java, which is not installed; run without --java.")
    if not importlib.util.find_spec("pycocoevalcap"):
        raise ValueError("pycocoevalcap is not installed; run `pip install pycocoevalcap`.")


def ptb_tokens(captions: Mapping[Hashable, list[str]]) -> dict[Hashable, list[str]]:
    """Return the captions as the PTB tokenizer writes them: lower case, no punctuation."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    one_line = {
        image: [{"caption": " ".join(caption.split())} for caption in several]
        for image, several in captions.items()
    }
    return PTBTokenizer().tokenize(one_line)


def java_scores(references: References, captions: Captions) -> Scores:
    """Return BLEU-1..4, METEOR, ROUGE-L, CIDEr, SPICE, times 100.

    SPICE is left out, with a note, until its parser has been downloaded.
    """
    require_java()
    import pycocoevalcap.spice
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge

    wanted = ptb_tokens({image: references[image] for image in captions})
    given = ptb_tokens({image: [caption] for image, caption in captions.items()})
    bleus, _ = Bleu(4).compute_score(wanted, given, verbose=0)
    scores = {f"BLEU-{n}": bleu for n, bleu in enumerate(bleus, start=1)}
    scorers: dict[str, Any] = {"METEOR": Meteor(), "ROUGE-L": Rouge(), "CIDEr": Cider()}
    if any(Path(pycocoevalcap.spice.__file__).parent.glob("lib/stanford-corenlp-*-models.jar")):
        from pycocoevalcap.spice.spice import Spice

        scorers["SPICE"] = Spice()
    else:
        command = "python -m pycocoevalcap.spice.get_stanford_models"
        print(f"note: no SPICE; download its parser (large) once: `{command}`", file=sys.stderr)
    for name, scorer in scorers.items():
        scores[name] = scorer.compute_score(wanted, given)[0]
    return {name: 100 * float(score) for name, score in scores.items()}
