"""Five hundred texts (`python -m tests.stress.fuzz_text` tries five thousand)."""

import pytest

from tests.stress.fuzz_text import fuzz


@pytest.mark.slow
def test_texts_are_read_as_they_were_meant_or_refused_in_a_sentence():
    table: list[str] = []
    failures, guessed = fuzz(0, 500, seed=1, report=table.append)
    assert failures == []
    assert guessed <= 10
    assert len(table) == 1 + 8 + 7, "a line for each kind and for each encoding"
