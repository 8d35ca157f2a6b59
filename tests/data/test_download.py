"""The download code against a local server that behaves as badly as real ones do."""

import hashlib
import io
import stat
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

import prepare
from captioning.data import download
from captioning.data.download import Archive, fetch, fetch_all, unpack

CONTENT = bytes(range(256)) * 1000
SIZE = len(CONTENT)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(BaseHTTPRequestHandler):
    """`self.server.content` at any path; the first part of the path says how badly."""

    def do_GET(self):
        content, kind = self.server.content, self.path.split("/")[1]
        asked = self.headers.get("Range")
        self.server.requests.append((kind, asked))
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if kind == "404":
            return self.send_error(404)
        if kind == "busy" and len(self.server.requests) < 3:
            return self.send_error(503)
        if kind == "no-range" or kind == "always-cut":
            start = 0
        elif start >= len(content):
            return self.send_error(416)
        if kind == "corrupt":
            content = content[:-1] + b"x"
        body = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if kind != "no-length":
            self.send_header("Content-Length", str(len(body) - 5 if kind == "short" else len(body)))
        self.end_headers()
        if kind in ("cut", "always-cut"):  # half of it, then the line is dead
            body = body[: max(len(body) // 2, 1)] if len(body) > 1000 or kind != "cut" else body
        self.wfile.write(body[:-5] if kind == "short" else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.content, server.requests = CONTENT, []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def address(server, kind: str) -> str:
    return f"http://127.0.0.1:{server.server_port}/{kind}/file.zip"


def get(server, path, *kinds, size=SIZE, md5=MD5):
    fetch(tuple(address(server, kind) for kind in kinds), path, size, md5, pause=0)


def nothing_is_half(path):
    assert not path.exists()
    assert not list(path.parent.glob("*.tmp"))


@pytest.mark.parametrize("kind", ["good", "no-length", "busy", "no-range"])
def test_a_file_arrives_whole(server, tmp_path, kind):
    get(server, tmp_path / "deep/file.zip", kind)
    assert (tmp_path / "deep/file.zip").read_bytes() == CONTENT
    assert len(list((tmp_path / "deep").iterdir())) == 1, "no part is left over"


def test_a_cut_connection_is_resumed(server, tmp_path):
    get(server, tmp_path / "file.zip", "cut")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    ranges = [asked for _, asked in server.requests]
    assert ranges[0] is None
    assert ranges[1] == f"bytes={len(CONTENT) // 2}-", "only what was missing is asked for"


def test_a_later_run_resumes_where_the_first_stopped(server, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(CONTENT[:1000])
    get(server, tmp_path / "file.zip", "good")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert server.requests == [("good", "bytes=1000-")]


def test_a_part_that_is_whole_asks_nothing(server, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(CONTENT)
    get(server, tmp_path / "file.zip", "good")
    assert server.requests == []


@pytest.mark.parametrize("part", [CONTENT + b"too long", b"x" * len(CONTENT)])
def test_a_wrong_part_is_downloaded_again(server, tmp_path, part):
    (tmp_path / "file.zip.part").write_bytes(part)
    get(server, tmp_path / "file.zip", "good", "good")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_server_that_cannot_resume_starts_over(server, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(CONTENT[:1000])
    get(server, tmp_path / "file.zip", "no-range")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_of_unknown_size(server, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(CONTENT + b"more")
    get(server, tmp_path / "file.zip", "good", size=None)
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_the_second_mirror_helps(server, tmp_path):
    for bad in ("404", "short", "corrupt", "always-cut"):
        path = tmp_path / f"{bad}.zip"
        get(server, path, bad, "good")
        assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("404", "the server says 404"),
        ("short", f"its file has {len(CONTENT) - 5} bytes, not {len(CONTENT)}"),
        ("corrupt", "its checksum is"),
        ("always-cut", "the connection was cut"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_reason(server, tmp_path, kind, reason):
    with pytest.raises(OSError, match=rf"file.zip could not be downloaded.*{kind}.*{reason}"):
        get(server, tmp_path / "file.zip", kind)
    nothing_is_half(tmp_path / "file.zip")
    if kind == "404":
        assert len(server.requests) == 1, "a 404 will not get better"


def test_a_server_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match=r"could not be downloaded.*127\.0\.0\.1:9"):
        fetch(("http://127.0.0.1:9/file.zip",), tmp_path / "file.zip", pause=0)


def test_without_a_checksum_mirrors_are_not_mixed(server, tmp_path):
    path = tmp_path / "file.zip"
    get(server, path, "always-cut", "good", md5=None)
    assert path.read_bytes() == CONTENT
    assert server.requests[-1] == ("good", None), "the second mirror begins at the beginning"


# --- unpacking


def zipped(files: dict[str, bytes], compress: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compress) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_unpack(tmp_path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(
        zipped({"photos/": b"", "photos/a.jpg": b"aaa", "__MACOSX/x": b"", "b.txt": b"b"})
    )
    unpack(archive, tmp_path / "out")
    found = sorted(p.relative_to(tmp_path / "out").as_posix() for p in tmp_path.glob("out/**/*"))
    assert found == ["b.txt", "photos", "photos/a.jpg"]
    (tmp_path / "out/photos/a.jpg").write_bytes(b"AAA")
    (tmp_path / "out/b.txt").write_bytes(b"longer")
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out/photos/a.jpg").read_bytes() == b"AAA", "the same size is kept"
    assert (tmp_path / "out/b.txt").read_bytes() == b"b", "another size is unpacked again"


@pytest.mark.parametrize(
    "name", ["../evil.txt", "a/../../evil.txt", "/evil.txt", "C:/evil.txt", "a//evil.txt", "a\x07b"]
)
def test_a_name_that_leaves_the_folder_is_refused_before_anything_is_written(tmp_path, name):
    archive = tmp_path / "in" / "a.zip"
    archive.parent.mkdir()
    archive.write_bytes(zipped({"good.txt": b"good", name: b"evil"}))
    with pytest.raises(ValueError, match=r"a\.zip names a file .*, which is not a plain file name"):
        unpack(archive, tmp_path / "in" / "out")
    assert not list(tmp_path.rglob("*.txt"))


def test_a_link_is_refused(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as out:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        out.writestr(info, "/etc/passwd")
    with pytest.raises(ValueError, match="has a link, 'link'"):
        unpack(archive, tmp_path / "out")


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    archive = tmp_path / "a.zip"
    archive.write_bytes(zipped({"zeros": b"\0" * 3_000_000}, zipfile.ZIP_DEFLATED))
    unpack(archive, tmp_path / "small")
    monkeypatch.setattr(download, "MAX_EXPANSION", 2)
    with pytest.raises(ValueError, match="it is a zip bomb"):
        unpack(archive, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_a_full_disk_is_said_before_unpacking(tmp_path, monkeypatch):
    archive = tmp_path / "a.zip"
    archive.write_bytes(zipped({"a": b"12345"}))
    monkeypatch.setattr(download, "free_bytes", lambda folder: 4)
    with pytest.raises(OSError, match="too little space"):
        unpack(archive, tmp_path / "out")


def test_broken_archives_are_refused_in_a_sentence(tmp_path):
    good = zipped({"a.txt": b"a" * 5000, "b.txt": b"b" * 5000}, zipfile.ZIP_DEFLATED)
    archive = tmp_path / "a.zip"
    sentences = []
    for place in range(len(good)):
        archive.write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        try:
            unpack(archive, tmp_path / f"out{place}")
        except (ValueError, OSError) as error:
            sentences.append(str(error))
    assert len(sentences) > len(good) / 2, "many bytes matter"
    assert [sentence for sentence in sentences if "a.zip" not in sentence] == []
    archive.write_bytes(b"no zip at all")
    with pytest.raises(ValueError, match="is broken"):
        unpack(archive, tmp_path / "out")


# --- asking first


@pytest.fixture
def archive(server):
    server.content = zipped({"folder/a.txt": b"a"})
    md5 = hashlib.md5(server.content).hexdigest()
    size = len(server.content)
    return Archive("file.zip", (address(server, "good"),), size, md5, "for everybody")


def test_it_shows_and_asks_before_it_fetches(server, tmp_path, archive, monkeypatch, capsys):
    monkeypatch.setattr("builtins.input", lambda question: "n")
    with pytest.raises(ValueError, match="Nothing was downloaded"):
        fetch_all([archive], tmp_path, yes=False)
    shown = capsys.readouterr().out
    assert server.requests == []
    for part in ("file.zip", "for everybody", archive.urls[0], "0.00 GB", "GB are free"):
        assert part in shown
    monkeypatch.setattr("builtins.input", lambda question: "Yes")
    fetch_all([archive], tmp_path, yes=False)
    assert (tmp_path / "folder/a.txt").read_bytes() == b"a"
    fetch_all([archive], tmp_path, yes=True)
    assert len(server.requests) == 1, "a complete file is not downloaded again"


def test_no_answer_is_no(server, tmp_path, archive, monkeypatch):
    def no_keyboard(question):
        raise EOFError

    monkeypatch.setattr("builtins.input", no_keyboard)
    with pytest.raises(ValueError, match="add --yes in a script"):
        fetch_all([archive], tmp_path, yes=False)
    assert server.requests == []


@pytest.mark.parametrize("name", download.ARCHIVES)
def test_a_disk_too_small_is_said_before_the_question(tmp_path, monkeypatch, name):
    archives = download.ARCHIVES[name]
    need = 2 * sum(archive.needs for archive in archives)
    assert need > 2e9, "every size is known, at least roughly"
    monkeypatch.setattr("builtins.input", lambda question: "n")
    monkeypatch.setattr(download, "free_bytes", lambda folder: need - 1)
    with pytest.raises(OSError, match=r"GB are needed\. Choose"):
        fetch_all(archives, tmp_path, yes=False)
    monkeypatch.setattr(download, "free_bytes", lambda folder: need)
    with pytest.raises(ValueError, match="Nothing was downloaded"):
        fetch_all(archives, tmp_path, yes=False)


def test_the_space_for_archives_and_what_is_in_them_is_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(download, "free_bytes", lambda folder: 50e9)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    with pytest.raises(ValueError, match="Nothing was downloaded"):
        fetch_all(download.ARCHIVES["coco 2017"], tmp_path, yes=False)
    assert "40.8 GB of disk are needed until the archives" in capsys.readouterr().out
    with pytest.raises(ValueError, match="Nothing was downloaded"):
        fetch_all(download.ARCHIVES["flickr8k"], tmp_path, yes=False)
    assert "about 1.12 GB" in capsys.readouterr().out


def test_download_then_prepare(server, tmp_path, monkeypatch, capsys):
    Image.new("RGB", (48, 32), "red").save(tmp_path / "a.jpg")
    server.content = zipped(
        {
            "Flicker8k_Dataset/a.jpg": (tmp_path / "a.jpg").read_bytes(),
            "Flickr8k.token.txt": b"a.jpg#0\tA dog .\n",
            "Flickr_8k.trainImages.txt": b"a.jpg\n",
        }
    )
    one = Archive("file.zip", (address(server, "cut"),), len(server.content), None, "everybody")
    monkeypatch.setitem(prepare.ARCHIVES, "flickr8k", [one])
    out = tmp_path / "data"
    words = ["prepare.py", "flickr8k", "--download", "--yes", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    prepare.main()
    assert "train: 1 photo, 1 caption\n" in capsys.readouterr().out
    assert (out / "images/train/a.jpg").samefile(out / "publisher/Flicker8k_Dataset/a.jpg")


@pytest.mark.parametrize(("split", "test"), [(None, True), ("2014", True), ("2014", False)])
def test_cocos_test_photos_are_downloaded_on_request(tmp_path, monkeypatch, split, test):
    wanted = []
    monkeypatch.setattr(prepare, "fetch_all", lambda archives, *_: wanted.extend(archives))
    words = ["prepare.py", "coco", "--download", "--yes", "--out", str(tmp_path)]
    words += ["--split", split] * bool(split) + ["--test"] * test
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match="has no annotations"):
        prepare.main()
    year = split or "2017"
    names = {f"image_info_test{year}.zip", f"test{year}.zip"}
    assert names <= {archive.name for archive in wanted} or not test
    assert len(wanted) == 5 if test else 3
    monkeypatch.setattr(sys, "argv", [*words[:6], "--split", "karpathy", "--test"])
    with pytest.raises(SystemExit, match="leave out --test"):
        prepare.main()


def test_the_table_of_archives_is_complete():
    for archives in download.ARCHIVES.values():
        for archive in archives:
            assert len(archive.md5) == 32
            assert all(url.startswith(("https://", "http://images.coco")) for url in archive.urls)
            assert all(url.endswith(archive.name) for url in archive.urls)
    total = sum(archive.size for archive in download.ARCHIVES["coco 2017"])
    assert 20e9 < total < 21e9
