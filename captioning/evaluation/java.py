"""The scores that need Java: pycocoevalcap's whole pipeline, with METEOR and SPICE.

ptb_tokens      captions -> the words of Stanford's PTB tokeniser, as papers score them
java_scores     {image id: captions} -> scores, times 100
"""

import importlib.util
import shutil
import sys
from collections.abc import Hashable
from pathlib import Path


def need_java() -> None:
    """Raises ValueError where Java or pycocoevalcap is not installed."""
    if not shutil.which("java"):
        raise ValueError("METEOR and SPICE need Java, which is not installed; run without --java.")
    if not importlib.util.find_spec("pycocoevalcap"):
        raise ValueError("pycocoevalcap is not installed; run `pip install pycocoevalcap`.")


def ptb_tokens(captions: dict[Hashable, list[str]]) -> dict[Hashable, list[str]]:
    """The same captions as the PTB tokeniser writes them: lower case, no punctuation."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    one_line = {
        image: [{"caption": " ".join(caption.split())} for caption in several]
        for image, several in captions.items()
    }
    return PTBTokenizer().tokenize(one_line)


def java_scores(
    references: dict[Hashable, list[str]], captions: dict[Hashable, str]
) -> dict[str, float]:
    """BLEU-1..4, METEOR, ROUGE-L, CIDEr, SPICE, times 100.

    SPICE is left out, with a note, until its parser has been fetched.
    """
    need_java()
    import pycocoevalcap.spice
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge

    wanted = ptb_tokens({image: references[image] for image in captions})
    given = ptb_tokens({image: [caption] for image, caption in captions.items()})
    bleus, _ = Bleu(4).compute_score(wanted, given, verbose=0)
    scores = {f"BLEU-{n}": bleu for n, bleu in enumerate(bleus, start=1)}
    scorers = {"METEOR": Meteor(), "ROUGE-L": Rouge(), "CIDEr": Cider()}
    if any(Path(pycocoevalcap.spice.__file__).parent.glob("lib/stanford-corenlp-*-models.jar")):
        from pycocoevalcap.spice.spice import Spice

        scorers["SPICE"] = Spice()
    else:
        fetch = "python -m pycocoevalcap.spice.get_stanford_models"
        print(
            f"note: no SPICE; fetch its parser (a large download) once: `{fetch}`", file=sys.stderr
        )
    for name, scorer in scorers.items():
        scores[name] = scorer.compute_score(wanted, given)[0]
    return {name: 100 * float(score) for name, score in scores.items()}
