"""The line about each notebook of a run."""

import json
import time

import pytest

from alignsd.running.forecast import EarlierRun, Forecast
from alignsd.running.status_line import StatusLine


def status(names, todo, seconds, file=None) -> StatusLine:
    return StatusLine(names, Forecast(todo, EarlierRun(seconds)), file)


def test_lines_without_a_terminal(capsys):
    run = status(["01_a", "02_bb"], ["02_bb"], {"02_bb": 90})
    run.skip("01_a", "finished before")
    with run.running("02_bb"):
        pass
    assert capsys.readouterr().out.splitlines() == [
        "[1/2] 01_a   finished before",
        "[2/2] 02_bb  running 0:00, about 1:30 left in all",
        "[2/2] 02_bb  done in 0:00",
    ]


def test_a_notebook_that_stops_is_not_done(capsys):
    with pytest.raises(RuntimeError), status(["01_a"], ["01_a"], {}).running("01_a"):
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
    with status(["01_a"], ["01_a"], {"01_a": 1}).running("01_a"):
        pass
    monkeypatch.setattr("sys.stdout", None)
    with status(["01_a"], ["01_a"], {"01_a": 1}).running("01_a"):
        pass


def test_the_runner_s_line_uses_what_the_bars_tell(tmp_path):
    file = tmp_path / "work.json"
    bar = {
        "what": "drawing",
        "seconds": 100.0,
        "fraction": 0.25,
        "left": 300.0,
        "at": time.time(),
    }
    file.write_text(json.dumps([bar]))
    names = ["01_a", "02_b"]
    run = status(names, names, {"01_a": 100, "02_b": 50}, file)
    left = run.forecast.left("01_a", 100, run.bars())
    assert left == pytest.approx(300 + 4 * 50, abs=1)
    file.write_text(json.dumps([bar | {"at": bar["at"] - 1000}]))  # one step takes very long
    assert run.bars()[0].left == 0
    assert run.forecast.left("01_a", 1100, run.bars()) >= 0
