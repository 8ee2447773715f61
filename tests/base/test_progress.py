import json
import os

import pytest

from alignsd.base import progress
from alignsd.base.progress import DELAY, FILE, Pace, Progress, Work, clock, read_work, track


def test_clock():
    assert [clock(s) for s in (0, 59.6, 61, 3600)] == ["0:00", "1:00", "1:01", "1:00:00"]


def test_time_left_counts_what_is_still_to_run():
    run = Progress(
        ["01_a", "02_b", "03_c"], ["01_a", "03_c"], {"01_a": 10, "02_b": 1000, "03_c": 5}
    )
    assert run.left("01_a") == 15 and run.left("01_a", 4) == 11 and run.left("03_c", 1) == 4
    assert Progress(["01_a"], ["01_a"], {}).left("01_a") is None


def test_a_notebook_that_takes_longer_than_expected_makes_the_later_ones_longer():
    run = Progress(["01_a", "03_c"], ["01_a", "03_c"], {"01_a": 10, "03_c": 5})
    assert run.left("01_a", 60) == 5 * 6


def test_later_notebooks_are_estimated_by_the_pace_so_far():
    names = ["01_a", "02_b", "03_c"]
    run = Progress(names, names, {"01_a": 10, "02_b": 20, "03_c": 30})
    assert run.done("01_a", 40) == 4 * 50
    assert run.left("02_b", 8) == 4 * 50 - 8
    assert run.done("02_b", 20) == 30 * (40 + 20) / (10 + 20), (
        "the second one was as quick as expected"
    )
    assert run.done("03_c", 1) == 0


class Machine:
    """A machine with a clock of its own on which notebooks do their work in bars.

    Args:
        bars: notebook -> bar -> seconds of work at the expected pace.
        slowness: by what the seconds are multiplied.
    """

    def __init__(self, bars, slowness):
        self.bars = bars
        self.slowness = slowness
        self.time = 0.0

    def whole(self) -> float:
        return self.slowness * sum(sum(work.values()) for work in self.bars.values())

    def run(self, known=None, slower_after=None):
        """Yield ``(seconds since the start, estimate of the time left)`` once a second."""
        expected = {name: sum(work.values()) for name, work in self.bars.items()}
        run = Progress(list(self.bars), list(self.bars), expected, known)
        for name, works in self.bars.items():
            started = self.time
            finished = []
            for what, work in works.items():
                pace, done, begun = Pace(self.time, 0), 0.0, self.time
                while done < work:
                    slow = self.slowness
                    if slower_after is not None and self.time > slower_after:
                        slow *= 3
                    done = min(work, done + 1 / slow)
                    self.time += 1
                    pace.add(self.time, done)
                    bar = pace.work(what, work)
                    assert bar.seconds == self.time - begun
                    yield self.time, run.left(name, self.time - started, [*finished, bar])
                finished.append(bar)
            run.done(name, self.time - started)


ONE_BAR = {"01_a": {"drawing": 60.0}, "02_b": {"training": 140.0}, "03_c": {"measuring": 40.0}}
TWO_BARS = {
    "01_a": {"drawing": 30.0, "embedding": 30.0},
    "02_b": {"training": 140.0},
    "03_c": {"measuring": 40.0},
}
ONE_NOTEBOOK = {"05_a": {"encoding": 100.0, "training": 200.0, "sampling": 100.0}}


@pytest.mark.parametrize("slowness", [0.25, 1.0, 4.0, 20.0])
@pytest.mark.parametrize(
    ("bars", "known"), [(ONE_BAR, None), (TWO_BARS, TWO_BARS), (ONE_NOTEBOOK, ONE_NOTEBOOK)]
)
def test_the_estimate_follows_the_machine_within_a_fifth_of_the_work(bars, known, slowness):
    if slowness < 1:
        known = (
            bars  # a bar alone does not tell whether a quick notebook has more work after the bar
        )
    machine = Machine(bars, slowness)
    whole = machine.whole()
    for seconds, left in machine.run(known):
        assert left >= 0
        if seconds >= max(whole / 5, 8):  # a bar's pace counts after five seconds
            assert left == pytest.approx(whole - seconds, abs=0.1 * whole), seconds
    assert seconds == pytest.approx(whole, abs=len(bars) * 6)


def test_without_known_bars_the_pace_is_that_of_the_notebooks_before():
    machine = Machine(TWO_BARS, 4.0)
    whole = machine.whole()
    for seconds, left in machine.run():
        assert left >= 0
        if seconds > 4 * 60:  # the first notebook is done
            assert left == pytest.approx(whole - seconds, abs=0.1 * whole)


@pytest.mark.parametrize(("bars", "known"), [(ONE_BAR, None), (ONE_NOTEBOOK, ONE_NOTEBOOK)])
def test_the_estimate_grows_when_the_pace_falls(bars, known):
    machine = Machine(bars, 1.0)
    estimates = list(machine.run(known, slower_after=100))
    before = next(left for seconds, left in estimates if seconds == 100)
    assert max(left for seconds, left in estimates if 100 < seconds < 160) > 1.3 * before
    whole = estimates[-1][0]
    for seconds, left in estimates:
        if seconds > 100 + (whole - 100) / 2:
            assert left == pytest.approx(whole - seconds, abs=0.2 * whole), seconds


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


def test_lines_without_a_terminal(capsys):
    run = Progress(["01_a", "02_bb"], ["02_bb"], {"02_bb": 90})
    run.skip("01_a", "finished before")
    with run.running("02_bb"):
        pass
    assert capsys.readouterr().out.splitlines() == [
        "[1/2] 01_a   finished before",
        "[2/2] 02_bb  running 0:00, about 1:30 left in all",
        "[2/2] 02_bb  done in 0:00",
    ]


def test_a_notebook_that_stops_is_not_done(capsys):
    with pytest.raises(RuntimeError), Progress(["01_a"], ["01_a"], {}).running("01_a"):
        raise RuntimeError
    assert capsys.readouterr().out.splitlines()[-1] == "[1/1] 01_a  stopped after 0:00"


def test_a_closed_terminal_does_not_end_the_run(monkeypatch):
    class Closed:
        def write(self, text):
            raise OSError(5, "Input/output error")

        def flush(self):
            raise OSError(5, "Input/output error")

        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdout", Closed())
    with Progress(["01_a"], ["01_a"], {"01_a": 1}).running("01_a"):
        pass
    monkeypatch.setattr("sys.stdout", None)
    with Progress(["01_a"], ["01_a"], {"01_a": 1}).running("01_a"):
        pass


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
    assert list(track([], what="reading")) == [] and list(track([1], silent=True)) == [1]
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


def test_the_runner_s_line_uses_what_the_bars_tell(tmp_path):
    file = tmp_path / "work.json"
    bar = {
        "what": "drawing",
        "seconds": 100.0,
        "fraction": 0.25,
        "left": 300.0,
        "at": progress.time.time(),
    }
    file.write_text(json.dumps([bar]))
    run = Progress(["01_a", "02_b"], ["01_a", "02_b"], {"01_a": 100, "02_b": 50}, file=file)
    left = run.left("01_a", 100, run._bars())
    assert left == pytest.approx(300 + 4 * 50, abs=1)
    file.write_text(json.dumps([bar | {"at": bar["at"] - 1000}]))  # one step takes very long
    assert run._bars()[0].left == 0 and run.left("01_a", 1100, run._bars()) >= 0


def test_no_bar_of_the_kit_goes_past_this_one():
    from alignsd.base.paths import root

    modules = [path for path in (root() / "alignsd").rglob("*.py") if path.name != "progress.py"]
    assert [
        path.name for path in modules if "tqdm" in path.read_text() and path.name != "execution.py"
    ] == []
    assert os.environ["GOMP_SPINCOUNT"], "tests/conftest.py sets it for threads of torch"


def test_a_notebook_of_a_few_seconds_says_nothing_about_the_others():
    """If it failed, 6 seconds in place of 4 would turn 13 minutes into 20."""
    progress = Progress(["00", "01"], ["00", "01"], {"00": 4.0, "01": 780.0})
    assert progress.left("00", 3.0) == pytest.approx(781, abs=1)
    assert progress.done("00", 6.0) == pytest.approx(780, abs=1)
    assert progress.left("01", 390.0) == pytest.approx(390, abs=1)
