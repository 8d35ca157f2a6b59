"""The list of checksums: what is on it is not read again, and what changed is."""

import io
import os
import tarfile
import time
import zlib

import pytest

from captioning.data.shards import read_data
from captioning.features import checksums as module
from captioning.features.checksums import LIST, checksum, checksums


@pytest.fixture
def files(tmp_path):
    """Three small files."""
    paths = [tmp_path / f"{number}.jpg" for number in range(3)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


@pytest.fixture
def later(monkeypatch):
    """The clock of the list is a minute ahead: no file changed just now."""
    now = time.time_ns() + 60_000_000_000
    monkeypatch.setattr(module.time, "time_ns", lambda: now)


@pytest.fixture
def read(monkeypatch):
    """The names of the files that are read."""
    seen = []

    def record(path):
        seen.append(path.name)
        return checksum(path)

    monkeypatch.setattr(module, "checksum", record)
    return seen


def test_the_second_start_reads_no_file(files, later, read, tmp_path):
    first = checksums(files, tmp_path)
    assert sorted(read) == ["0.jpg", "1.jpg", "2.jpg"]
    read.clear()
    assert checksums(files, tmp_path) == first == [checksum(path) for path in files]
    assert not read


@pytest.mark.parametrize("keeps_its_time", [False, True])
def test_a_file_that_changed_is_read_again(files, later, read, tmp_path, keeps_its_time):
    first, before = checksums(files, tmp_path), files[1].stat()
    time.sleep(0.02)  # a tick of the file system's clock
    files[1].write_bytes(b"1.jpX")  # of the same size
    if keeps_its_time:  # the time of the inode tells it, where the system has one
        os.utime(files[1], ns=(before.st_atime_ns, before.st_mtime_ns))
        if files[1].stat().st_ctime_ns == before.st_ctime_ns:
            pytest.skip("this system keeps no time of the last change of the file itself")
    read.clear()
    second = checksums(files, tmp_path)
    assert read == ["1.jpg"]
    assert [a == b for a, b in zip(first, second, strict=True)] == [True, False, True]


def test_a_file_that_changed_just_now_is_not_put_on_the_list(files, read, tmp_path):
    checksums(files, tmp_path)
    read.clear()
    checksums(files, tmp_path)
    assert len(read) == 3


def test_a_file_that_is_gone_or_new(files, later, read, tmp_path):
    first = checksums(files[:2], tmp_path)
    files[0].unlink()
    read.clear()
    assert checksums(files, tmp_path) == ["", first[1], checksum(files[2])]
    assert "1.jpg" not in read


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', '{"a": [1, 2, 3, 4]}', "{" * 9999])
def test_a_broken_list_is_replaced(files, later, tmp_path, content, capsys):
    (tmp_path / LIST).write_text(content)
    found = checksums(files, tmp_path)
    assert found == [checksum(path) for path in files]
    assert "the photos are read again" in capsys.readouterr().out
    checksums(files, tmp_path)
    assert not capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_no_obstacle(files, later, tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError

    monkeypatch.setattr(module, "atomic_write", refuse)
    assert checksums(files, tmp_path / "nowhere") == [checksum(path) for path in files]


def test_a_photo_in_a_tar_is_read_again_when_the_tar_changed(tmp_path, later, read):
    tar = tmp_path / "train-00000.tar"
    for number, content in enumerate((b"first", b"other")):
        time.sleep(0.02 * number)  # a tick of the file system's clock
        with tarfile.open(tar, "w") as file:
            for name, data in (("a.jpg", content), ("a.txt", b"a dog")):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
        photo = read_data(str(tar), "train").photos[0].path
        assert checksums([photo], tmp_path) == [f"5 {zlib.crc32(content)}"]
        assert checksums([photo], tmp_path) == [f"5 {zlib.crc32(content)}"]
        assert read == ["a.jpg"] * (number + 1)
