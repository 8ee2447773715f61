"""Parts on a server: the same rows and pictures as from the disk, few requests, clear faults."""

import os
import sys
import threading

import fsspec
import numpy as np
import pandas as pd
import pytest
from range_server import serving, small_blocks, write_corpus

from alignsd.base.errors import Problem
from alignsd.select import diffusiondb, ranges, remote, scoring

NOISE = 4_000  # bytes behind a picture; 40 pictures make a part of 170 kB
SHORT = (0.01, 0.02)  # seconds between tries


@pytest.fixture
def corpus(tmp_path):
    write_corpus(tmp_path / "db", noise=NOISE)
    return tmp_path / "db"


@pytest.fixture
def web(corpus):
    pytest.importorskip("aiohttp")
    with serving(corpus) as (url, counts):
        yield url, counts


def upload(corpus, files, target: str) -> None:
    for path in corpus.glob("images/*.zip"):
        files.put_file(str(path), f"{target}/images/{path.name}")


@pytest.fixture
def in_memory(corpus):
    """Yield the URL of the corpus in fsspec's memory."""
    files = fsspec.filesystem("memory")
    upload(corpus, files, "/stream-test/db")
    yield "memory://stream-test/db"
    files.rm("/stream-test", recursive=True)


@pytest.fixture
def embeddings(monkeypatch):
    """Stand in for CLIP: brightness gives an image's vector, the last digit gives a text's."""

    def unit(angle):
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)

    def embed_texts(clip, given):
        return unit(np.array([int(text[-1]) for text in given], float) / 10)

    def embed_images(clip, images):
        return unit(np.array([image.mean() for image in images]) / 100)

    monkeypatch.setattr("alignsd.models.clip.embed_images", embed_images)
    monkeypatch.setattr("alignsd.models.clip.embed_texts", embed_texts)


def pictures(folder, rows):
    return {name: int(image.max()) for name, image in diffusiondb.read_pictures(folder, rows)}


def chosen(*names: str) -> pd.DataFrame:
    return pd.DataFrame({"part": [f"part-00000{name[0]}" for name in names], "image": names})


def check_same_as_the_disk(url, corpus, out):
    here = scoring.score_parts(corpus, out / "here", None, batch=16)
    there = scoring.score_parts(remote.remote_folder(url), out / "there", None, batch=16)
    pd.testing.assert_frame_equal(here, there)
    assert (here["status"] == "ok").sum() == 80
    rows = chosen("2-7.png", "1-30.png", "1-3.png")
    expected = {"1-3.png": 3, "1-30.png": 30, "2-7.png": 7}
    assert pictures(remote.remote_folder(url), rows) == pictures(corpus, rows) == expected


def test_memory_gives_the_same_scores_and_pictures(in_memory, corpus, embeddings, tmp_path):
    check_same_as_the_disk(in_memory, corpus, tmp_path)


def test_a_web_server_gives_the_same_scores_and_pictures(web, corpus, embeddings, tmp_path):
    check_same_as_the_disk(web[0], corpus, tmp_path)


def test_a_file_url_is_a_folder(corpus):
    folder = diffusiondb.parts_folder(corpus.as_uri())
    assert folder == corpus.resolve() and len(diffusiondb.find_parts(folder)) == 2


def test_scoring_fetches_each_byte_about_once_in_large_blocks(web, corpus, embeddings, monkeypatch):
    url, counts = web
    small_blocks(monkeypatch, block=32_000, ending=8_000)
    part = diffusiondb.find_parts(remote.remote_folder(url))["part-000001"]
    scoring.score_part(part, None, batch=8)
    size = (corpus / "images" / "part-000001.zip").stat().st_size
    # The directory and the JSON lie in the ending; all blocks come before the ending.
    assert size <= counts.sent() < 1.05 * size
    assert len(counts.requests) == 1 + -(-(size - 8_000) // 32_000)
    starts = [start for _, start, _ in counts.requests[1:]]
    assert sorted(starts) == list(range(0, size - 8_000, 32_000))
    assert counts.heads == 3, "before the list, before the pictures, and behind the last picture"


def test_chosen_pictures_alone_are_fetched(web, corpus, monkeypatch):
    url, counts = web
    small_blocks(monkeypatch, block=32_000, ending=8_000)
    folder = remote.remote_folder(url)
    assert pictures(folder, chosen("1-3.png", "1-20.png")) == {"1-3.png": 3, "1-20.png": 20}
    assert len(counts.requests) == 3, "the ending, and one request for each picture"
    member = counts.requests[1][2] - counts.requests[1][1]
    assert NOISE < member < NOISE + 300
    assert pictures(folder, chosen("1-4.png", "1-5.png")) == {"1-4.png": 4, "1-5.png": 5}
    assert len(counts.requests) == 4, "neighbours share a request; the directory is kept"


def test_memory_does_not_grow_with_the_file(monkeypatch):
    small_blocks(monkeypatch, block=1_000, ending=8_000)
    size, held, lock = 10**6, [], threading.Lock()

    def fetch(start, end):
        with lock:
            held.append(end - start)
        return bytes(end - start)

    with ranges.RangeReader(fetch, ranges.Piece(size - 10, bytes(10))) as reader:
        reader.plan([(0, size)])
        for done in range(0, size, 5_000):
            assert len(reader.read(5_000)) == 5_000
            assert sum(held) <= done + 5_000 + (ranges.AHEAD + 1) * 1_000, "fetched too far ahead"
            assert len(reader._held) <= 2 and len(reader._asked) <= ranges.AHEAD
    assert sum(held) == size - 10


def test_unplanned_bytes_are_read_as_from_a_file(tmp_path):
    content = np.random.default_rng(1).bytes(200_000)
    fetched = ranges.Piece(190_000, content[190_000:])
    rng = np.random.default_rng(2)
    with ranges.RangeReader(lambda start, end: content[start:end], fetched) as reader:
        reader.plan([(1_000, 50_000), (60_000, 61_000)])
        for _ in range(200):
            start, length = int(rng.integers(0, 200_000)), int(rng.integers(0, 5_000))
            reader.seek(start)
            assert reader.read(length) == content[start : start + length]
        reader.seek(-10, os.SEEK_END)
        assert reader.read() == content[-10:] and reader.read() == b""
        with pytest.raises(OSError, match="before the first byte"):
            reader.seek(-1)


def test_spans_become_requests(monkeypatch):
    monkeypatch.setattr(ranges, "BLOCK", 100)
    monkeypatch.setattr(ranges, "GAP", 10)
    spans = [(0, 50), (50, 120), (125, 130), (200, 210), (100, 105)]
    expected = [(0, 100), (100, 130), (200, 210), (100, 105)]
    assert list(ranges.requests_of(spans)) == expected
    assert list(ranges.requests_of([])) == []


def test_a_broken_connection_is_tried_again(web):
    url, counts = web
    folder = remote.remote_folder(url, pauses=SHORT)
    counts.failures = 2
    assert pictures(folder, chosen("1-3.png")) == {"1-3.png": 3}
    assert counts.failures == 0


def test_a_lost_server_is_a_problem_with_the_command_that_resumes(web):
    url, counts = web
    command = "alignsd run --preset paper --run paper"
    folder = remote.remote_folder(url, pauses=SHORT, resume=command)
    part = diffusiondb.find_parts(folder)["part-000001"]
    counts.failures = 100
    with pytest.raises(Problem, match=f"(?s)part-000001.*3 tries.*kept: .*{command[8:]}"):
        diffusiondb.list_part(part)
    counts.failures, counts.gone = 0, True
    with pytest.raises(Problem, match="(?s)503.*3 tries.*the server answers"):
        diffusiondb.list_part(part)


def test_a_missing_file_is_not_asked_for_again(web, monkeypatch):
    url, _ = web
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("the server has answered"))
    folder = remote.remote_folder(url)
    with pytest.raises(Problem, match="(?s)could not be read.*404"):
        diffusiondb.list_part(remote.RemotePart(folder, f"{url}/images/part-000009.zip"))
    with pytest.raises(Problem, match="no DiffusionDB parts"):
        diffusiondb.find_parts(remote.remote_folder(f"{url}/nothing/here"))


def test_a_server_without_ranges_is_a_problem(web, monkeypatch):
    url, counts = web
    counts.ranges = False
    monkeypatch.setattr(remote, "ENDING", 8_000)  # less than the file, so that a range is asked for
    part = diffusiondb.find_parts(remote.remote_folder(url, pauses=SHORT))["part-000001"]
    with pytest.raises(Problem, match="(?s)does not send pieces of part-000001.*http.server"):
        diffusiondb.list_part(part)


@pytest.mark.parametrize("fixture", ["in_memory", "web"])
def test_a_part_that_changed_since_the_scoring_is_refused(fixture, request, corpus, tmp_path):
    place = request.getfixturevalue(fixture)
    url = place if fixture == "in_memory" else place[0]
    record = tmp_path / "parts.json"
    scoring.remember_parts(record, remote.remote_folder(url))
    folder = scoring.recall_parts(record)
    assert folder.connection.url == url
    assert pictures(folder, chosen("1-3.png", "2-3.png")) == {"1-3.png": 3, "2-3.png": 3}
    write_corpus(corpus, noise=NOISE + 1)
    if fixture == "in_memory":
        upload(corpus, fsspec.filesystem("memory"), "/stream-test/db")
    fault = "(?s)part-000001.zip was changed on the server.*force 03"
    for same in (folder, scoring.recall_parts(record)):
        with pytest.raises(Problem, match=fault):
            pictures(same, chosen("1-3.png"))
    with pytest.raises(Problem, match="was changed on the server"):
        scoring.remember_parts(record, remote.remote_folder(url))


def test_a_part_that_changes_while_it_is_read_is_refused(web, corpus):
    url, _ = web
    part = diffusiondb.find_parts(remote.remote_folder(url))["part-000001"]
    reading = diffusiondb.read_members(part, ["1-0.png", "1-1.png"])
    next(reading)
    os.utime(corpus / "images" / "part-000001.zip", (1, 1))
    next(reading)
    with pytest.raises(Problem, match="was changed on the server"):
        next(reading)


def test_a_remote_file_that_is_no_zip_is_named(in_memory):
    with fsspec.open(f"{in_memory}/images/part-000001.zip", "wb") as file:
        file.write(b"<html>log in</html>")
    part = diffusiondb.find_parts(remote.remote_folder(in_memory))["part-000001"]
    with pytest.raises(Problem, match="(?s)cannot be opened.*a web page.*upload"):
        diffusiondb.list_part(part)


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    known = sys.modules["fsspec.registry"]._registry
    for scheme, package in (("s3", "s3fs"), ("gs", "gcsfs")):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.delitem(known, scheme, raising=False)
    for url, package in (("s3://bucket/db", "s3fs"), ("gs://bucket/db", "gcsfs")):
        with pytest.raises(Problem, match=f"(?s)missing.*pip install {package}"):
            diffusiondb.parts_folder(url)
    with pytest.raises(Problem, match="(?s)cannot be used.*nothing://"):
        diffusiondb.parts_folder("nothing://bucket/db")


def test_errors_of_libraries_lose_their_secrets():
    def request():
        raise OSError("GET https://me:word@host/a.zip?X-Amz-Signature=abc failed")

    connection = remote.Connection(None, "db", "https://host/db", pauses=())
    with pytest.raises(Problem) as caught:
        connection.ask("a.zip", request)
    message = str(caught.value)
    assert "https://host/a.zip failed" in message
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    assert not any(secret in message for secret in ("me:", "word", "Signature", "abc"))


@pytest.mark.parametrize(
    "noted", [{}, {"part-000001": 5}, {"part-000001": {"size": "1", "tag": ""}}, None]
)
def test_a_record_of_a_url_keeps_the_versions(tmp_path, noted):
    record = tmp_path / "parts.json"
    scoring.write_json(record, {"parts": "memory://db", "versions": noted})
    if noted == {}:
        assert scoring.recall_parts(record).recorded == {}
    else:
        with pytest.raises(Problem, match="does not say where"):
            scoring.recall_parts(record)


def test_s3_gives_the_same_scores_and_pictures(corpus, embeddings, tmp_path, monkeypatch):
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-of-the-test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        files = fsspec.filesystem("s3", skip_instance_cache=True)
        files.mkdir("pictures")
        upload(corpus, files, "pictures/db")
        check_same_as_the_disk("s3://pictures/db", corpus, tmp_path)
        record = tmp_path / "parts.json"
        scoring.remember_parts(record, remote.remote_folder("s3://pictures/db"))
        assert "of-the-test" not in record.read_text()
        write_corpus(corpus, noise=NOISE + 1)
        upload(corpus, files, "pictures/db")
        with pytest.raises(Problem, match="was changed on the server"):
            pictures(scoring.recall_parts(record), chosen("1-3.png"))
    finally:
        server.stop()
