import pytest

from alignsd.progress import Progress, clock


def test_clock():
    assert [clock(s) for s in (0, 59.6, 61, 3600)] == ["0:00", "1:00", "1:01", "1:00:00"]


def test_time_left_counts_what_is_still_to_run():
    progress = Progress(["01_a", "02_b", "03_c"], ["01_a", "03_c"], {"01_a": 10, "02_b": 1000, "03_c": 5})
    assert progress.left("01_a") == 15 and progress.left("01_a", 4) == 11 and progress.left("03_c", 1) == 4
    assert progress.left("01_a", 60) == 5, "a notebook that takes longer than expected is nearly done"
    assert Progress(["01_a"], ["01_a"], {}).left("01_a") is None


def test_lines_without_a_terminal(capsys):
    progress = Progress(["01_a", "02_bb"], ["02_bb"], {"02_bb": 90})
    progress.skip("01_a", "finished before")
    with progress.running("02_bb"):
        pass
    assert capsys.readouterr().out.splitlines() == [
        "[1/2] 01_a   finished before", "[2/2] 02_bb  running 0:00, about 1:30 left in all", "[2/2] 02_bb  done in 0:00"]


def test_a_notebook_that_stops_is_not_done(capsys):
    with pytest.raises(RuntimeError), Progress(["01_a"], ["01_a"], {}).running("01_a"):
        raise RuntimeError
    assert capsys.readouterr().out.splitlines()[-1] == "[1/1] 01_a  stopped after 0:00"
