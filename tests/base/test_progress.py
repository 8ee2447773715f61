"""Bars tell the reader and the runner how far the work is."""

import os
import sys
from types import SimpleNamespace

import pytest

from alignsd.base import progress
from alignsd.base.paths import root
from alignsd.base.progress import DELAY, FILE, Pace, Work, clock, read_work, track


def test_clock():
    assert [clock(s) for s in (0, 59.6, 61, 3600)] == ["0:00", "1:00", "1:01", "1:00:00"]


def test_a_bar_that_begins_with_what_is_there_is_judged_by_what_it_does():
    """If it failed, a run that goes on would promise an end in a moment."""
    pace = Pace(0.0, 900)  # of 1000, 900 were there
    for second in range(1, 41):
        pace.add(second, 900 + second)
    assert pace.work("scoring", 1000).left == pytest.approx(60)


def test_a_bar_s_pace_needs_little_memory():
    pace = Pace(0.0, 0)
    for step in range(200_000):
        pace.add(step * 0.01, step)
    assert len(pace.samples) <= 1002, "one a second, of the later half"


@pytest.fixture
def told(tmp_path, monkeypatch):
    """The file in which bars tell how far they are."""
    progress._report_to.cache_clear()
    monkeypatch.setenv(FILE, str(tmp_path / "work.json"))
    yield tmp_path / "work.json"
    progress._report_to.cache_clear()


class Clock:
    """Stands for the module ``time`` in ``progress``; it goes on when it is told to."""

    def __init__(self):
        self.seconds = 100.0

    def monotonic(self):
        return self.seconds

    time = monotonic


def test_bars_tell_the_runner_how_far_they_are(told, monkeypatch):
    now = Clock()
    monkeypatch.setattr(progress, "time", now)
    seen = []
    for _ in track(range(10), what="drawing", unit="image"):
        now.seconds += 2
        seen.append(told.exists())
    assert seen[:3] == [False, True, True]
    assert read_work(told) == [Work("drawing", 20.0, 1.0, 0.0, 120.0)]
    with track(total=4, what="drawing") as bar:
        now.seconds += 6
        bar.update(1)
    assert read_work(told)[1] == Work("drawing 2", 6.0, 0.25, 18.0, 126.0)
    assert [path.name for path in told.parent.iterdir()] == ["work.json"]


def test_bars_tell_at_most_once_a_second(told, monkeypatch):
    now = Clock()
    monkeypatch.setattr(progress, "time", now)
    written = []
    monkeypatch.setattr(progress.os, "replace", lambda part, path: written.append(now.seconds))
    for _ in track(range(1000), what="training"):
        now.seconds += 0.01
    assert 8 <= len(written) <= 12


def test_bars_without_a_runner_or_a_total_tell_nothing(told, monkeypatch):
    assert list(track(iter([1, 2]), what="reading")) == [1, 2]
    assert list(track([], what="reading")) == []
    assert list(track([1], silent=True)) == [1]
    monkeypatch.delenv(FILE)
    assert list(track([1, 2], what="reading")) == [1, 2]
    assert not told.exists()


def test_a_bar_that_cannot_tell_does_not_end_the_work(told):
    told.mkdir()  # a folder where the file should be
    assert list(track([1, 2, 3], what="reading")) == [1, 2, 3]


def test_short_work_shows_no_bar_and_long_work_shows_one(capsys, monkeypatch):
    assert list(track(range(3), what="quick")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    bar = track(range(3), what="slow")
    bar.start_t -= 2 * DELAY
    bar.last_print_t -= 20
    assert list(bar) == [0, 1, 2]
    assert "slow" in capsys.readouterr().err


def test_an_error_in_the_work_is_not_held_up_by_the_bar():
    with pytest.raises(RuntimeError, match="in the work"):
        for _ in track(range(3)):
            raise RuntimeError("in the work")


@pytest.mark.parametrize("text", ["", "[", "{}", "[1]", '[{"what": "a"}]', "null", '"a"', "\x00"])
def test_a_damaged_file_of_progress_is_as_good_as_none(tmp_path, text):
    (tmp_path / "work.json").write_text(text)
    assert read_work(tmp_path / "work.json") == []


def test_no_bar_of_the_kit_goes_past_this_one():
    modules = [path for path in (root() / "alignsd").rglob("*.py") if path.name != "progress.py"]
    others = [path for path in modules if "tqdm" in path.read_text()]
    # The execution of notebooks only knows how a bar of tqdm looks in an output.
    assert [path.name for path in others if path.parent.name != "running"] == []
    assert os.environ["GOMP_SPINCOUNT"], "tests/conftest.py sets it for threads of torch"


def test_a_notebook_shows_a_bar_among_its_prints_and_not_in_red(monkeypatch, capsys):
    monkeypatch.delenv(FILE, raising=False)
    kernel = SimpleNamespace(IPKernelApp=SimpleNamespace(initialized=lambda: True))
    monkeypatch.setitem(sys.modules, "ipykernel.kernelapp", kernel)
    monkeypatch.setattr(progress, "DELAY", 0)
    for _ in track(range(3), what="drawing", unit="image"):
        pass
    printed = capsys.readouterr()
    assert "drawing" in printed.out and printed.err == ""


def test_a_terminal_s_bar_leaves_what_is_printed_alone(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "ipykernel.kernelapp", raising=False)
    monkeypatch.setattr(progress, "DELAY", 0)
    for _ in track(range(3), what="drawing", unit="image"):
        pass
    printed = capsys.readouterr()
    assert "drawing" in printed.err and printed.out == ""
