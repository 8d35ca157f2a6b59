"""Words <-> ids: tokens, the vocabulary, its JSON file."""

import json
import re
import shutil

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from nltk.tokenize import NLTKWordTokenizer

from captioning.evaluation.java import ptb_tokens
from vocabulary import Vocabulary, tokenize

# Words as captions have them: plain, hyphenated, numbers, possessives, contractions, punctuation.
letters = st.text("abcdeglnorstuw", min_size=1, max_size=8)
ending = st.sampled_from(["", "", "", "s", "'s", "'re", "'ve", "'ll", "n't", "-red", "-42"])
word = st.tuples(letters, ending).map("".join) | st.integers(0, 999).map(str)
punctuation = st.sampled_from(["", "", "", ",", "!", "?", ";", " -", " ..."])
caption_text = st.lists(st.tuples(word, punctuation), max_size=12).map(
    lambda pairs: " ".join(w.capitalize() + m for w, m in pairs)
)
words_only = st.lists(st.sampled_from(["a", "dog", "cat", "runs", "sits", "zebra"]), max_size=8)


@examples(deadline=None, max_examples=100, derandomize=True)
@given(st.lists(caption_text, min_size=1, max_size=4))
def test_known_words_survive_encoding_and_decoding(captions):
    tokens = [tokenize(caption) for caption in captions]
    vocab = Vocabulary.build([*tokens, ["a"]], vocab_threshold=1)
    for caption, words in zip(captions, tokens, strict=True):
        ids = vocab.encode(caption)
        assert vocab.unk not in ids
        assert [vocab.words[i] for i in ids] == ["<start>", *words, "<end>"]
        assert tokenize(vocab.decode(ids)) == words


@examples(deadline=None, max_examples=100, derandomize=True)
@given(st.text(max_size=60))
def test_any_text_becomes_clean_tokens(text):
    for token in tokenize(text):
        assert token == token.lower()
        assert any(c.isalnum() for c in token)
        assert " " not in token


@examples(deadline=None, max_examples=100, derandomize=True)
@given(st.lists(words_only, max_size=30), st.integers(1, 5), st.none() | st.integers(1, 4))
def test_build_keeps_the_frequent_words(captions, threshold, max_size):
    flat = [w for caption in captions for w in caption]
    ranked = sorted(set(flat), key=lambda w: (-flat.count(w), w))
    expected = [w for w in ranked if flat.count(w) >= threshold][:max_size]
    if not expected:
        why = f"No word occurs {threshold} times" if flat else "The captions have no words"
        with pytest.raises(ValueError, match=why):
            Vocabulary.build(captions, threshold, max_size)
        return
    vocab = Vocabulary.build(captions, threshold, max_size)
    assert vocab.words == ["<start>", "<end>", "<unk>", "<pad>", *expected]
    assert [vocab(w) for w in vocab.words] == list(range(len(vocab)))
    assert all(vocab(w) == vocab.unk for w in set(flat) - set(expected))


@examples(deadline=None, max_examples=200, derandomize=True)
@given(caption_text)
def test_text_without_full_stops_has_the_tokens_of_nltk(text):
    text = text.replace(".", "")
    tokens = NLTKWordTokenizer().tokenize(text.lower())
    assert tokenize(text) == [token for token in tokens if any(c.isalnum() for c in token)]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("A dog's ball.", ["a", "dog", "'s", "ball"]),
        ("It DOESN'T move!", ["it", "does", "n't", "move"]),
        ("two-story house, 3 cars", ["two-story", "house", "3", "cars"]),
        ("... -- !", []),
        ("Two dogs. They cannot run.", ["two", "dogs", "they", "can", "not", "run"]),
        ("A dog\u2019s cafe\u0301", ["a", "dog", "'s", "caf\u00e9"]),
        ("A bag. The dog .A cat", ["a", "bag", "the", "dog", "a", "cat"]),
        ("(A dog.) It ran!", ["a", "dog", "it", "ran"]),
        ("The U.S. flag, St. Louis", ["the", "u.s.", "flag", "st.", "louis"]),
        ("No. 5 said no. Then 3.5", ["no.", "5", "said", "no", "then", "3.5"]),
        ("Washington D.C.", ["washington", "d.c."]),
        ("A.", ["a"]),
        ("It is the letter B.", ["it", "is", "the", "letter", "b"]),
        ("He can't see plan B!.", ["he", "ca", "n't", "see", "plan", "b"]),
        ("J. Smith lives in the U.S.", ["j.", "smith", "lives", "in", "the", "u.s."]),
        ("\u72ac\u304c\u8d70\u308b", ["\u72ac", "\u304c", "\u8d70", "\u308b"]),
        ("", []),
    ],
)
def test_tokens_follow_the_penn_treebank(text, tokens):
    assert tokenize(text) == tokens


SENTENCES = [
    "A white dog. It has a red ball.", "A man carries a bag. The dog runs", "Two dogs .A third",
    "Dogs, cats, etc. run at 5 p.m. on Main St. near D.C.", "Mr. Smith and Dr. Jones wave.",
    "No. 5 jumps; the other says no. Then 3.5 miles", "A man in a t-shirt. A dog.",
    "A dog... and a cat (asleep).", "The man’s dog doesn't bark. It’s 1,000 lbs. of fun.",
    "A man . . A dog", "The U.S. flag. A crowd!", "cannot see, gonna wave", "Washington D.C.",
    "J. Smith lives in the U.S.",
]  # fmt: skip


@pytest.mark.skipif(not shutil.which("java"), reason="needs Java")
def test_tokens_are_those_of_the_reference_scorer():
    pytest.importorskip("pycocoevalcap")
    tokens = ptb_tokens({number: [text] for number, text in enumerate(SENTENCES)})
    expected = [re.sub("-[lr]rb-", " ", tokens[number][0]).split() for number in tokens]
    assert [tokenize(text) for text in SENTENCES] == expected


def test_special_words_may_have_other_names_but_keep_their_ids():
    vocab = Vocabulary.build([["a", "<s>"]], 1, start_word="<s>", end_word="</s>", unk_word="?")
    assert vocab.words == ["<s>", "</s>", "?", "<pad>", "a"]
    assert vocab.encode("a zebra") == [0, 4, 2, 1]


def test_decode_stops_at_end_and_leaves_out_start_and_padding():
    vocab = Vocabulary.build([["a", "dog", "'s", "ball"]], 1)
    ids = [0, vocab("a"), vocab("dog"), vocab("'s"), vocab("ball"), 1, vocab("a"), 3, 3]
    assert vocab.decode(ids) == "a dog's ball"
    assert vocab.decode([3, vocab("a"), 2]) == "a <unk>"
    assert vocab.decode([]) == ""


def test_the_tokenizer_can_be_replaced():
    vocab = Vocabulary.build([list("abba")], 1, tokenizer=list)
    assert vocab.decode(vocab.encode("ab")) == "a b"


def test_a_saved_vocabulary_is_plain_json_and_loads_again(tmp_path):
    vocab = Vocabulary.build([["café", "naïve", "犬", "a"]], 1)
    vocab.save(tmp_path / "new folder" / "vocab.json")
    assert Vocabulary.load(tmp_path / "new folder" / "vocab.json").words == vocab.words
    content = json.loads((tmp_path / "new folder" / "vocab.json").read_text(encoding="utf-8"))
    assert content["words"] == vocab.words


BROKEN_FILES = {
    "empty": "",
    "not JSON": "{words",
    "half": '{"words": ["<start>", "<e',
    "a list": "[1, 2]",
    "without words": "{}",
    "null": '{"words": null}',
    "a text": '{"words": "abcdefg"}',
    "a dictionary": '{"words": {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}}',
    "numbers": '{"words": [1, 2, 3, 4, 5]}',
    "too few": '{"words": ["a"]}',
    "twice": '{"words": ["<start>", "<end>", "<unk>", "<pad>", "a", "a"]}',
    "endless number": "1" * 5000,
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("text", BROKEN_FILES.values(), ids=BROKEN_FILES)
def test_a_broken_vocabulary_is_refused_in_one_sentence_that_names_it(tmp_path, text):
    path = tmp_path / "vocab.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"vocab\.json is not a vocabulary .*Build it again"
    ) as error:
        Vocabulary.load(path)
    assert "\n" not in str(error.value)


def test_a_missing_or_unreadable_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json is missing"):
        Vocabulary.load(tmp_path / "none.json")
    (tmp_path / "latin.json").write_bytes(b'{"words": ["caf\xe9"]}')
    with pytest.raises(ValueError, match=r"latin\.json"):
        Vocabulary.load(tmp_path / "latin.json")


def test_a_threshold_or_size_below_one_is_refused():
    with pytest.raises(ValueError, match="vocab_threshold"):
        Vocabulary.build([["a"]], vocab_threshold=0)
    with pytest.raises(ValueError, match="largest size"):
        Vocabulary.build([["a"]], vocab_threshold=1, max_size=0)


def test_characters_of_a_script_without_spaces_are_joined_again():
    vocab = Vocabulary.build([tokenize("\u72ac\u304c\u8d70\u308b")], vocab_threshold=1)
    assert vocab.decode(vocab.encode("\u72ac\u304c\u8d70\u308b")) == "\u72ac\u304c\u8d70\u308b"
