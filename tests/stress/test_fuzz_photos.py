"""A thousand odd photos (`python -m tests.stress.fuzz_photos` tries twenty thousand)."""

import pytest

from tests.stress.fuzz_photos import fuzz


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Pillow's
def test_a_thousand_odd_photos_are_read_as_they_look_or_refused_in_a_sentence():
    table: list[str] = []
    assert fuzz(0, 1000, seed=1, report=table.append) == []
    assert [line.split()[-4:] for line in table[1:4]] == [
        ["150", "150", "0", "0"],  # files, read, refused, wrong: odd EXIF
        ["50", "50", "0", "0"],
        ["50", "50", "0", "0"],
    ]
