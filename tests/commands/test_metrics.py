"""The scores against the reference scorer, against figures worked out by hand, and as a command."""

import json
import math
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import metrics
from captioning.data.coco import read_references
from captioning.data.results import read_results
from captioning.evaluation.scores import CiderD, bleu, evaluate, rouge_l, tokens

ROOT = Path(__file__).parents[1]
FLICKR8K = ROOT / "../shared/data/flickr8k"
WORDS = ["a", "dog", "cat", "runs", "sits", "on", "the", "red", "ball"]
sentence = st.lists(st.sampled_from(WORDS), max_size=9)
captions_of_one_image = st.lists(sentence.filter(bool).map(" ".join), min_size=1, max_size=5)


def reference_scores(references: dict, captions: dict) -> dict:
    """What pycocoevalcap says of the same tokens."""
    bleu_scorer = pytest.importorskip("pycocoevalcap.bleu.bleu").Bleu(4)
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    wanted = {k: [" ".join(tokens(r)) for r in v] for k, v in references.items() if k in captions}
    given_captions = {k: [" ".join(tokens(captions[k]))] for k in wanted}
    bleus, _ = bleu_scorer.compute_score(wanted, given_captions, verbose=0)
    rouge, rouges = Rouge().compute_score(wanted, given_captions)
    cider, ciders = Cider().compute_score(wanted, given_captions)
    return {"bleu": bleus, "rouge": rouge, "cider": cider, "rouges": rouges, "ciders": ciders}


def assert_equal_to_reference(references: dict, captions: dict) -> None:
    want = reference_scores(references, captions)
    order = [image for image in references if image in captions]
    ours = metrics.per_image(references, {image: captions[image] for image in order})
    assert bleu(references, captions) == pytest.approx(want["bleu"], abs=1e-6)
    scores = evaluate(references, captions)
    assert scores["ROUGE-L"] / 100 == pytest.approx(want["rouge"], abs=1e-6)
    assert scores["CIDEr"] / 100 == pytest.approx(want["cider"], abs=1e-6)
    for name, key in (("ROUGE-L", "rouges"), ("CIDEr", "ciders")):
        each = [ours[image][name] / 100 for image in order]
        assert each == pytest.approx(want[key].tolist(), abs=1e-6)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(st.lists(st.tuples(captions_of_one_image, sentence.map(" ".join)), min_size=1, max_size=6))
def test_equal_to_the_reference_scorer(pairs):
    references = dict(enumerate(several for several, _ in pairs))
    captions = dict(enumerate(caption for _, caption in pairs))
    assert_equal_to_reference(references, captions)


@pytest.mark.parametrize(
    "captions",
    [
        ["a dog runs on the grass", "two cats sit"],  # identical
        ["", ""],
        ["", "two cats sit"],
        ["zebra", "giraffe"],  # no overlap
        ["dog", "cats"],  # one word: no bigram at all
        ["a dog", "xylophone music plays loudly today"],
        ["a a a a a a a a a a a a", "two two cats cats sit sit"],
        ["!!!", "..."],
    ],
)
def test_equal_on_edge_cases(captions):
    references = {7: ["a dog runs on the grass", "dog"], "x": ["two cats sit", "cats sit here now"]}
    assert_equal_to_reference(references, dict(zip(references, captions, strict=True)))


def test_bleu_by_hand():
    references = {1: ["the cat is on the mat", "there is a cat on the mat"]}
    # Papineni's example of clipping: `the` is twice in a reference, so 2 of 7 count
    assert bleu(references, {1: "the the the the the the the"})[0] == pytest.approx(2 / 7)
    # 5 words; the closest reference has 6: brevity exp(1 - 6/5); 4/5 words and 2/4 pairs are right
    brevity = math.exp(1 - 6 / 5)
    scores = bleu(references, {1: "the cat sat the mat"})
    assert scores[:2] == pytest.approx([brevity * 4 / 5, brevity * math.sqrt(4 / 5 * 2 / 4)])
    assert bleu(references, {1: "the cat is on the mat"}) == pytest.approx([1, 1, 1, 1])
    assert bleu(references, {1: ""}) == [0, 0, 0, 0]


def test_rouge_by_hand():
    # "the cat the mat" is common: recall 4/6, precision 4/5, beta squared 1.44
    precision, recall = 4 / 5, 4 / 6
    want = 2.44 * precision * recall / (recall + 1.44 * precision)
    assert rouge_l(["the cat is on the mat"], "the cat near the mat") == pytest.approx(want)
    # the best precision and the best recall may come from different references
    want = 2.44 * 1 * (2 / 3) / (2 / 3 + 1.44 * 1)
    assert rouge_l(["a b c", "a b d e f g"], "a b") == pytest.approx(want)
    assert rouge_l(["a"], "") == 0


def test_cider_by_hand():
    references = {1: ["red dog"], 2: ["red cat"]}
    # `red` is in both images and weighs log 2 - log 2 = 0; `dog` and the pair weigh log 2.
    # Cosines of orders 1 to 4: 1, 1, 0, 0; their mean is 1/2, times 10
    assert CiderD(references).score(1, "red dog") == pytest.approx(5)
    # `big` is in no reference and weighs log 2 as well, so the cosine of single words is
    # 1 / sqrt(2); no pair is right; one word too many costs exp(-1 / 72)
    want = 10 / 4 * (1 / math.sqrt(2)) * math.exp(-1 / 72)
    assert CiderD(references).score(1, "dog big red") == pytest.approx(want)
    assert CiderD(references).score(1, "red") == 0


def test_cider_documents_fix_the_frequencies():
    training = {i: [f"red thing{i}"] for i in range(4)}
    references = {1: ["red dog"], 2: ["red cat"]}
    reward = CiderD(references, documents=training)
    # in the training set `red` is everywhere and `dog` nowhere, whatever the references say
    assert reward.common == {("red",): math.log(4)}
    assert reward.score(1, "red dog") == pytest.approx(5)
    assert reward.score(1, "red dog") == pytest.approx(5), "cached vectors give the same"
    assert reward.compute({1: "red dog", 2: "dog"}) == pytest.approx(2.5)
    with pytest.raises(ValueError, match="needs references"):
        CiderD({})


def test_evaluate_refuses_in_a_sentence():
    with pytest.raises(ValueError, match="no caption to score"):
        evaluate({1: ["a"]}, {})
    with pytest.raises(ValueError, match="Image 2 has no reference"):
        evaluate({1: ["a"]}, {2: "a"})


def drawn(count: int, seed: int = 0) -> dict[int, list[str]]:
    rng = random.Random(seed)
    found = {}
    for image in range(1, count + 1):
        thing, place = rng.choice(["dog", "cat", "man", "girl"]), rng.choice(["beach", "park"])
        found[image] = [
            f"A {thing} {verb} on the {place}, near a {rng.choice(['horse', 'bird', 'tree'])}."
            for verb in rng.choices(["runs", "sits", "jumps", "waits", "plays"], k=5)
        ]
    return found


def test_bootstrap_encloses_the_score_and_is_repeatable():
    references = drawn(60)
    captions = {image: several[0] for image, several in drawn(60, seed=1).items()}
    scores, intervals = evaluate(references, captions), metrics.bootstrap_intervals(references, captions)
    assert list(intervals) == list(scores)
    for name, (low, high) in intervals.items():
        assert low < scores[name] < high
        assert high - low < scores[name], "60 images are enough for an idea"
    assert metrics.bootstrap_intervals(references, captions) == intervals


def test_bootstrap_of_equal_images_is_the_score():
    references = {image: ["a dog runs on grass", "the dog ran away fast"] for image in range(10)}
    captions = dict.fromkeys(references, "a dog runs fast")
    scores = evaluate(references, captions)
    for name, (low, high) in metrics.bootstrap_intervals(references, captions, samples=20).items():
        assert low == pytest.approx(scores[name])
        assert high == pytest.approx(scores[name])


def test_ladder_rises():
    references, training = drawn(50), drawn(200, seed=2)
    nearest = {image: several[1] for image, several in references.items()}
    rungs = metrics.baselines(references, training, nearest)
    assert list(rungs) == ["random", "common", "nearest", "human"]
    assert rungs["random"]["CIDEr"] < rungs["human"]["CIDEr"] < rungs["nearest"]["CIDEr"]
    assert rungs == metrics.baselines(references, training, nearest), "seeded"
    alone = {image: several[:1] for image, several in references.items()}
    assert "human" not in metrics.baselines(alone, training), "nobody to compare a person with"


def test_human_rung_by_hand():
    references = {1: ["a dog", "a dog"], 2: ["one", "two"]}
    rungs = metrics.baselines(references, {9: ["x y"]})
    assert rungs["human"]["BLEU-1"] == pytest.approx(100 * 2 / 3)  # each turn: 2 of 3 words right


def test_nearest_photos():
    bank = np.eye(5, dtype=np.float32) * np.array([1, 2, 3, 4, 5], np.float32)[:, None]
    assert metrics.nearest_neighbors(np.eye(5)[[3, 0]] * 7, bank).tolist() == [3, 0]
    many = np.eye(5)[np.arange(3000) % 5]
    assert (metrics.nearest_neighbors(many, bank) == np.arange(3000) % 5).all()


def test_diversity():
    captions = {1: "A dog runs.", 2: "a dog runs", 3: "a cat"}
    found = metrics.diversity(captions, {5: ["a cat!", "a bird"]})
    assert found == {
        "different captions, %": pytest.approx(200 / 3),
        "copied from training, %": pytest.approx(100 / 3),
        "different words": 4,
        "words a caption": pytest.approx(8 / 3),
    }


def flickr8k_captions(list_name: str) -> dict[str, list[str]]:
    found = {}
    for line in (FLICKR8K / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines():
        name, caption = line.split("\t")
        found.setdefault(name.split("#")[0], []).append(caption)
    return {name: found[name] for name in (FLICKR8K / list_name).read_text().split()[:100]}


@pytest.mark.skipif(not shutil.which("java"), reason="needs Java")
def test_our_words_score_as_the_ptb_tokenizers():
    pytest.importorskip("pycocoevalcap")
    from captioning.evaluation.java import java_scores

    if FLICKR8K.exists():
        references = flickr8k_captions("Flickr_8k.devImages.txt")
    else:
        references = drawn(200) | {  # odd captions are as rare as in COCO
            "possessive": ["A man's dog can't swim in the U.S.", "The men's dogs aren't wet; sad!"],
            "hyphen": ["A black-and-white cat (asleep) on a t-shirt", "Rock & roll / jazz: 5'6\""],
        }
    captions = {image: several[0] for image, several in references.items()}
    others = {image: several[1:] for image, several in references.items()}
    java, ours = java_scores(others, captions), evaluate(others, captions)
    assert 0 < java["METEOR"] < 100
    for name, score in ours.items():
        assert score == pytest.approx(java[name], abs=0.3), name


def test_java_that_is_missing_is_said(monkeypatch):
    from captioning.evaluation import java as java_scores

    monkeypatch.setattr(java_scores.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="need Java, which is not installed"):
        java_scores.java_scores({1: ["a"]}, {1: "a"})


# --- files and the command line


@pytest.fixture
def annotations(tmp_path):
    names = {11: "p11.jpg", 12: "p12.jpg", 13: "p13.jpg"}
    content = {
        "images": [{"id": i, "file_name": name} for i, name in names.items()],
        "annotations": [
            {"id": 10 * i + k, "image_id": i, "caption": f"A {thing} on the {place}."}
            for i, thing in zip(names, ("dog", "cat", "man"), strict=True)
            for k, place in enumerate(("beach", "road"))
        ],
    }
    path = tmp_path / "captions_val.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def score(tmp_path, annotations, monkeypatch, capsys):
    """Runs the command line on some results: exit status, standard output, standard error."""

    def run(results, *flags) -> tuple[int, str, str]:
        path = tmp_path / "results.json"
        text = results if isinstance(results, str) else json.dumps(results)
        path.write_text(text, encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["metrics.py", str(path), str(annotations), *flags])
        refused = ""
        try:
            metrics.main()
        except SystemExit as stop:  # Python prints its text and exits with 1
            refused = str(stop.code)
        out, err = capsys.readouterr()
        return int(bool(refused)), out, err + refused

    return run


GOOD = [
    {"image_id": 11, "caption": "a dog on the beach"},
    {"image_id": "p12", "caption": "a cat on the road"},
    {"image_id": "whatever", "file_name": "p13.jpg", "caption": "a man on the road"},
]


def test_command_matches_by_id_stem_and_file_name(tmp_path, annotations, score):
    out = tmp_path / "scores.json"
    flags = ("--training", str(annotations), "--out", str(out))
    status, said, err = score(GOOD, *flags)
    assert status == 0, err
    assert "3 images, 6 references" in said
    assert "BLEU-4       100.0" in said
    scores = json.loads(out.read_text(encoding="utf-8"))
    assert scores["captions"]["BLEU-4"] == pytest.approx(100)
    assert scores["human"]["CIDEr"] < scores["captions"]["CIDEr"]
    assert scores["diversity"]["copied from training, %"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        ("[{", "is not JSON"),
        ({"image_id": 11}, "holds a JSON dict, not a list"),
        ([], "has no captions"),
        ([{"image_id": 99, "caption": "a dog"}], "its first image is 99"),
        ([*GOOD, {"image_id": 99, "caption": "a"}], "1 captions are of photos not in the annotat"),
        (GOOD[:2], "1 captions are missing, the first of image 13"),
        ([*GOOD, {"image_id": "p11", "caption": "a"}], "two captions of image 11"),
        ([{"image_id": 11}], "entry 1 has no valid `caption`"),
        ([{"image_id": 11, "caption": ["a", "dog"]}], "entry 1 has no valid `caption`"),
        ([{"image_id": [11], "caption": "a"}], "entry 1 has no valid `image_id`"),
        ([{"image_id": True, "caption": "a"}], "entry 1 has no valid `image_id`"),
        (["a dog"], "entry 1 has no valid `image_id`"),
    ],
)
def test_command_refuses_in_one_sentence(score, results, sentence):
    status, _, err = score(results)
    assert status == 1
    assert err.startswith("error: ")
    assert "\n" not in err
    assert sentence in err
    assert "results.json" in err


def test_command_scores_what_is_there_with_partial(score):
    status, said, err = score([*GOOD[:2], {"image_id": 99, "caption": "a"}], "--partial")
    assert status == 0, err
    assert "2 images, 4 references" in said


def test_command_scores_empty_and_non_latin_captions(score):
    empty, other = dict(GOOD[0], caption=" ... "), dict(GOOD[1], caption="一只猫 на дороге \ud83d")
    status, _, err = score([empty, other, GOOD[2]])
    assert status == 0, err
    assert "1 captions have no words, the first of image 11" in err
    assert tokens("Кошка на дороге.") == ("кошка", "на", "дороге"), "any script has words"


def test_it_runs_as_a_command(annotations):
    command = [sys.executable, "metrics.py", str(annotations), str(annotations)]
    run = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=ROOT)
    assert run.returncode == 1
    assert run.stderr == f"error: {annotations} holds a JSON dict, not a list.\n"


def test_annotations_that_are_broken_are_refused(tmp_path, annotations):
    for content, sentence in (
        ({"annotations": []}, "no list of entries"),
        ({"images": [], "annotations": []}, "has no captions"),
        ({"images": [{"id": 1}], "annotations": []}, "entry 1 has no valid `file_name`"),
        ({"images": [], "annotations": [{"image_id": 1, "caption": None}]}, "`caption`"),
    ):
        path = tmp_path / "broken.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(ValueError, match=sentence):
            read_references(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_references(tmp_path / "nowhere.json")


def test_a_stem_that_two_photos_share_is_not_guessed(tmp_path):
    path = tmp_path / "results.json"
    path.write_text('[{"image_id": "a", "caption": "x"}]', encoding="utf-8")
    names = {1: "one/a.jpg", 2: "two/a.jpg"}
    with pytest.raises(ValueError, match="its first image is 'a'"):
        read_results(path, {1: ["x"], 2: ["y"]}, names)
