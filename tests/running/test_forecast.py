"""The time left in a run follows the machine that does the work."""

import pytest

from alignsd.base.progress import Pace, Work
from alignsd.running.forecast import EarlierRun, Forecast


def test_time_left_counts_what_is_still_to_run():
    earlier = EarlierRun({"01_a": 10, "02_b": 1000, "03_c": 5})
    run = Forecast(["01_a", "03_c"], earlier)
    assert run.left("01_a") == 15
    assert run.left("01_a", 4) == 11
    assert run.left("03_c", 1) == 4


def test_without_the_times_of_an_earlier_run_nothing_is_promised():
    assert Forecast(["01_a"], EarlierRun({})).left("01_a") is None


def test_a_notebook_that_takes_longer_than_expected_makes_the_later_ones_longer():
    run = Forecast(["01_a", "03_c"], EarlierRun({"01_a": 10, "03_c": 5}))
    assert run.left("01_a", 60) == 5 * 6


def test_later_notebooks_are_estimated_by_the_pace_so_far():
    names = ["01_a", "02_b", "03_c"]
    run = Forecast(names, EarlierRun({"01_a": 10, "02_b": 20, "03_c": 30}))
    assert run.done("01_a", 40) == 4 * 50
    assert run.left("02_b", 8) == 4 * 50 - 8
    as_quick_as_expected = run.done("02_b", 20)
    assert as_quick_as_expected == 30 * (40 + 20) / (10 + 20)
    assert run.done("03_c", 1) == 0


def test_a_notebook_of_a_few_seconds_says_nothing_about_the_others():
    """If it failed, 6 seconds in place of 4 would turn 13 minutes into 20."""
    run = Forecast(["00", "01"], EarlierRun({"00": 4.0, "01": 780.0}))
    assert run.left("00", 3.0) == pytest.approx(781, abs=1)
    assert run.done("00", 6.0) == pytest.approx(780, abs=1)
    assert run.left("01", 390.0) == pytest.approx(390, abs=1)


def test_a_bar_that_the_earlier_run_hardly_needed_tells_its_own_time_only():
    """The earlier run found a finished training: 1 second in place of 200."""
    earlier = EarlierRun({"10": 240.0}, {"10": {"training": 1.0, "drawing": 150.0}})
    run = Forecast(["10"], earlier)
    training = Work("training", 200.0, fraction=1.0, left=0.0, at=0.0)
    assert run.left("10", 200.0, [training]) == 239
    drawing = Work("drawing", 75.0, fraction=0.5, left=75.0, at=0.0)
    assert run.left("10", 280.0, [training, drawing]) == 200 + 239 - 280


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
        run = Forecast(list(self.bars), EarlierRun(expected, known or {}))
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
        # A bar alone does not tell whether a quick notebook has more work after the bar.
        known = bars
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
