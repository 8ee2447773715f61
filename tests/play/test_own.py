"""Pictures of the reader, ranked by HPS; files that are no pictures, told."""

import html

import numpy as np
import pytest
from studio_of_tests import PROMPT

from alignsd.base.errors import Problem
from alignsd.base.images import save_png
from alignsd.models.clip import load_clip
from alignsd.play import own
from alignsd.reward.hps import score
from alignsd.teach.live import WIDGETS


@pytest.fixture(scope="module")
def clip():
    return load_clip("miniature/clip", device="cpu")


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    return {f"p{i}": rng.integers(0, 256, (40 + i, 64, 3), dtype=np.uint8) for i in range(4)}


def test_pictures_are_ranked_by_hps(clip, pictures):
    table, pixels = own.rank(pictures, PROMPT, clip)
    expected = dict(zip(pictures, score(clip, list(pictures.values()), [PROMPT] * 4), strict=True))
    assert table["name"].tolist() == sorted(expected, key=expected.get, reverse=True)
    assert table["hps"].tolist() == pytest.approx(sorted(expected.values(), reverse=True))
    assert table["place"].tolist() == [1, 2, 3, 4] and table["status"].eq("ok").all()
    assert pixels.keys() == pictures.keys()


def test_a_folder_is_ranked_and_what_is_no_picture_comes_last(clip, pictures, tmp_path):
    for name, pixels in pictures.items():
        save_png(tmp_path / f"{name}.png", pixels)
    (tmp_path / "notes.txt").write_text("<html>")
    (tmp_path / "cut.png").write_bytes((tmp_path / "p0.png").read_bytes()[:200])
    (tmp_path / "empty.png").touch()
    (tmp_path / ".hidden").write_text("not looked at")
    (tmp_path / "folder").mkdir()
    table, read = own.rank(tmp_path, PROMPT, clip)
    assert table["status"].eq("ok").tolist() == [True] * 4 + [False] * 3
    bad = table[table["status"] != "ok"].set_index("name")
    assert bad.loc["cut.png", "status"] == "damaged picture: cut.png"
    assert bad.loc["empty.png", "status"].startswith("empty file")
    assert "a web page" in bad.loc["notes.txt", "status"]
    assert bad["hps"].isna().all() and bad["place"].isna().all() and len(read) == 4


def test_nothing_to_rank_is_an_empty_table(clip, tmp_path):
    table, read = own.rank(tmp_path, PROMPT, clip)
    assert len(table) == 0 and not read and list(table) == ["place", "name", "hps", "status"]


def test_bad_files_alone_are_a_table(clip):
    table, read = own.rank({"a.png": b"", "b.png": b"GIF89a"}, PROMPT, clip)
    assert len(table) == 2 and not read


def test_a_missing_folder_is_told(clip, tmp_path):
    with pytest.raises(Problem, match="does not exist"):
        own.rank(tmp_path / "nothing", PROMPT, clip)


def test_the_sentence_fits_the_model():
    small, real = own.what_may_be_compared("miniature/clip"), own.what_may_be_compared("ViT-L-14")
    assert "simulated people" in small and "simulated" not in real
    for sentence in (small, real):
        assert "same prompt" in sentence and "photographs" in sentence


def test_the_answer_is_escaped_and_tells_bad_files(clip, pictures):
    scorer = own.ScoreYourOwn(clip, "miniature/clip", PROMPT, pictures)
    answer = scorer.answer({"<b>.png": b"no picture", **pictures}, PROMPT)
    assert answer.count("<figure") == 4 and "<b>" not in answer
    assert "&lt;b&gt;.png is not ranked: not a PNG, JPEG or WebP picture" in answer
    assert html.escape(scorer.sentence) in answer
    assert "Type the prompt" in scorer.answer(pictures, "  ")
    wrong = {"flat": np.zeros((4, 4), np.uint8)}
    assert "The scoring stopped with" in scorer.answer(wrong, PROMPT) or "Fix:" in scorer.answer(
        wrong, PROMPT
    )


def test_in_a_batch_run_the_pictures_are_a_figure(clip, pictures, monkeypatch, style):
    monkeypatch.setenv(WIDGETS, "0")
    scorer = own.ScoreYourOwn(clip, "miniature/clip", PROMPT, pictures)
    data, metadata = scorer._repr_mimebundle_()
    assert set(data) == {"image/png", "text/plain"}
    best = own.rank(pictures, PROMPT, clip)[0]["name"].iloc[0]
    assert f"1. {best}, HPS" in metadata["image/png"]["alt"]
