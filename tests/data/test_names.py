"""Names of photos: those that people have are accepted, those that could do harm are not."""

import pytest

from captioning.data.names import find_file, flat_name, is_plain_name, names_in, relative_name


def test_paths_inside_the_folder_are_names_with_the_slashes_of_any_system(tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    (photos / "beach").mkdir(parents=True)
    inside = [
        "beach/a.jpg", "beach\\a.jpg", "./beach/a.jpg", " beach/a.jpg ",
        str(photos / "beach/a.jpg"), str(photos / "beach/a.jpg").replace("/", "\\"),
    ]  # fmt: skip
    assert {relative_name(path, photos) for path in inside} == {"beach/a.jpg"}
    monkeypatch.chdir(tmp_path)
    relative = photos.relative_to(tmp_path)
    assert relative_name("photos/beach/a.jpg", relative) == "beach/a.jpg"
    (photos / "photos").mkdir()
    (photos / "photos" / "a.jpg").touch()
    assert relative_name("photos/a.jpg", relative) == "photos/a.jpg", "there is such a photo"
    for path in (
        "../a.jpg",
        "beach/../a.jpg",
        str(tmp_path / "a.jpg"),
        "//server/a.jpg",
        "a" * 70_000 + "/",
    ):
        with pytest.raises(ValueError, match="not a plain file name or a path inside"):
            relative_name(path, photos)


@pytest.mark.parametrize(
    "name",
    ["a.jpg", "at 3.04.05\u202fPM.jpg", "写真\u30001.jpg", "👨\u200d👩.jpg", "Gru\u0308n.jpg"],
)
def test_names_that_people_have_are_plain(name):
    assert is_plain_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "C:a", "a\nb", "a\0b", "a\ud800"])
def test_names_that_could_do_harm_are_not(name):
    assert not is_plain_name(name)


def test_a_file_is_found_however_its_accents_are_stored(tmp_path):
    folder = tmp_path / "Bu\u0308ro"
    folder.mkdir()
    (folder / "Gru\u0308n.jpg").touch()
    (folder / "caf\u00e9.jpg").touch()
    for name in (
        "B\u00fcro/Gr\u00fcn.jpg",
        "Bu\u0308ro/Gru\u0308n.jpg",
        "B\u00fcro/cafe\u0301.jpg",
    ):
        assert find_file(tmp_path, name, names_in).is_file()
    missing = find_file(tmp_path, "B\u00fcro/none.jpg", names_in)
    assert not missing.exists()


def test_flat_names_are_composed_short_and_different():
    assert flat_name("beach/Gru\u0308n.jpg") == "beach_Gr\u00fcn.jpg"
    long = [flat_name("写" * 100 + f"{n}.jpeg") for n in range(3)]
    assert len(set(long)) == 3
    assert all(len(name.encode()) <= 180 and name.endswith(".jpeg") for name in long)
