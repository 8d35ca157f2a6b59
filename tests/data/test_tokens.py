"""Captions cut into words once: the same words from the file, and none from a wrong one."""

import numpy as np
import pytest

from captioning import distributed
from captioning.data import tokens as tokens_module
from captioning.data.tokens import Tokens, tokens_of
from data_loader import PackedCaptions
from vocabulary import Vocabulary, tokenize

CAPTIONS = [
    "A dog can't run.",
    "",
    "Ein großer Hund!",
    "a dog",
    "狗在跑",
    "A lone \ud800 surrogate",
]


def words_of(tokens: Tokens) -> list[list[str]]:
    parts = np.split(tokens.numbers, tokens.lengths.cumsum()[:-1])
    return [[tokens.words[number] for number in part] for part in parts]


@pytest.fixture
def tokenized(monkeypatch) -> list[str]:
    """Return the texts that the tokenizer has been given since."""
    texts: list[str] = []

    def record(text: str) -> list[str]:
        texts.append(text)
        return tokenize(text)

    monkeypatch.setattr(tokens_module, "tokenize", record)
    monkeypatch.setattr(tokens_module.inspect, "getsource", lambda part: "the same source")
    return texts


def test_the_second_start_reads_what_the_first_one_kept(tmp_path, tokenized):
    expected = [tokenize(text) for text in CAPTIONS]
    first = tokens_of(CAPTIONS, tokens_module.tokenize, tmp_path)
    assert words_of(first) == expected
    assert tokenized == CAPTIONS
    second = tokens_of(CAPTIONS, tokens_module.tokenize, tmp_path)
    assert tokenized == CAPTIONS, "nothing was split again"
    assert words_of(second) == expected
    assert second.counts() == first.counts()
    vocab = Vocabulary.build(expected, 1)
    assert Vocabulary.build(second.counts(), 1).words == vocab.words
    packed = [PackedCaptions(words, [0] * 6, vocab) for words in (expected, second)]
    assert packed[0].words.tolist() == packed[1].words.tolist()
    assert packed[0].words.tolist() == [i for words in expected for i in vocab.encode(words)]


def test_other_captions_or_another_tokenizer_have_their_own_file(tmp_path, tokenized, monkeypatch):
    tokens_of(CAPTIONS, tokens_module.tokenize, tmp_path)
    tokens_of(CAPTIONS[::-1], tokens_module.tokenize, tmp_path)
    tokens_of(["A dog can't run. ", *CAPTIONS[1:]], tokens_module.tokenize, tmp_path)
    monkeypatch.setattr(tokens_module.inspect, "getsource", lambda part: "another source")
    tokens_of(CAPTIONS, tokens_module.tokenize, tmp_path)
    assert len(tokenized) == 4 * len(CAPTIONS)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_tokenizer_of_ones_own_is_not_kept(tmp_path):
    found = tokens_of(CAPTIONS, str.split, tmp_path)
    assert words_of(found)[0] == ["A", "dog", "can't", "run."]
    assert not list(tmp_path.iterdir())


def broken_files() -> dict[str, dict | bytes]:
    good = Tokens.of(tokenize(text) for text in CAPTIONS)
    words = np.frombuffer("\n".join(good.words).encode(errors="surrogatepass"), np.uint8)
    whole = {"words": words, "numbers": good.numbers, "lengths": good.lengths}
    return {
        "empty": b"",
        "not a zip": b"cos\nsystem\n(S'true'\ntR.",
        "no lengths": {"words": words, "numbers": good.numbers},
        "a pickle": whole | {"lengths": np.array([{}] * 6, dtype=object)},
        "other captions": whole | {"lengths": good.lengths[:-1]},
        "lengths below 0": whole
        | {"lengths": good.lengths * np.array([-1, 1, 1, 1, 1, 1], np.int32)},
        "unknown words": whole | {"numbers": good.numbers + 1},
        "floats": whole | {"numbers": good.numbers.astype(np.float32)},
    }


@pytest.mark.parametrize("kind", broken_files())
def test_a_broken_file_is_made_again_with_a_note(tmp_path, capsys, kind):
    expected = words_of(tokens_of(CAPTIONS, tokenize, tmp_path))
    [path] = tmp_path.iterdir()
    good, content = path.read_bytes(), broken_files()[kind]
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, **content)
    assert words_of(tokens_of(CAPTIONS, tokenize, tmp_path)) == expected
    assert f"note: {path} is broken" in capsys.readouterr().out
    assert path.read_bytes() == good


def test_a_folder_that_cannot_be_written_is_noted(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    found = tokens_of(CAPTIONS, tokenize, tmp_path / "file")
    assert len(found) == 6
    assert "are not kept" in capsys.readouterr().out


def test_the_other_processes_read_what_the_first_one_wrote(tmp_path, tokenized, monkeypatch):
    tokens_of(CAPTIONS, tokens_module.tokenize, tmp_path)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    assert len(tokens_of(CAPTIONS, tokens_module.tokenize, tmp_path)) == 6
    assert tokenized == CAPTIONS


def test_some_captions_in_another_order():
    captions = [["a", "dog"], [], ["the", "dog", "runs"]]
    found = Tokens.of(captions).take([2, 0, 1, 2])
    assert words_of(found) == [captions[i] for i in (2, 0, 1, 2)]
