"""Each benchmark runs with its smallest sizes, and writes rows with the same keys."""

import json

import numpy as np
import pytest

from benchmarks import busy, cost, demo, lanes, lora, memory, scoring


@pytest.mark.parametrize(
    ("benchmark", "count", "keys"),
    [
        (busy, 10, {"stage", "setting", "others", "pace", "of_fair_share"}),
        (scoring, 3, {"model", "way", "seconds", "kit_is_faster", "scores_apart"}),
        (lora, 2, {"way", "seconds_per_picture", "kit_is_faster_with_encoding"}),
        (memory, 4, {"work", "amount", "peak_mib", "own_mib"}),
        (cost, 9, {"work", "amount", "seconds", "off_line_percent"}),
        (lanes, 4, {"work", "way", "seconds", "of_in_turn"}),
    ],
    ids=lambda value: getattr(value, "__name__", "").removeprefix("benchmarks."),
)
def test_a_benchmark_writes_its_rows(benchmark, count, keys, tmp_path):
    benchmark.main(["--quick", "--results", str(tmp_path)])
    name = benchmark.__name__.removeprefix("benchmarks.")
    rows = json.loads((tmp_path / f"{name}.json").read_text())["rows"]
    assert len(rows) == count
    assert all(row.keys() == rows[0].keys() and row.keys() >= keys for row in rows)
    if benchmark is cost:
        assert (tmp_path / "cost.png").stat().st_size > 0
    if benchmark is scoring:
        (apart,) = [row["scores_apart"] for row in rows if row["way"] == "official"]
        assert apart < 1e-3, "both recipes give the same scores"


def test_two_checkouts_take_turns_and_their_verdicts_stand_side_by_side(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(
        demo.Checkout, "run", lambda self, *given: ran.append((self.folder.name, given[0]))
    )
    checkouts = {
        name: demo.Checkout(tmp_path / name, tmp_path / f"runs of {name}")
        for name in (demo.HERE, demo.THERE)
    }
    for checkout, verdict in zip(checkouts.values(), ("reproduced", "undecided"), strict=True):
        run = checkout.output / "papermill_runs" / demo.RUN
        run.mkdir(parents=True)
        (run / "scorecard.json").write_text(json.dumps([{"id": "claim", "verdict": verdict}]))
    rows = demo.compared(checkouts, ["00", "01"], "mini", 0)
    here, there = demo.HERE, demo.THERE
    assert ran == [(here, "00"), (there, "00"), (there, "01"), (here, "01")]
    assert [row["notebook"] for row in rows] == ["00", "01", "all"]
    assert np.isclose(rows[2][here], rows[0][here] + rows[1][here])
    assert demo.claims(checkouts) == [{"claim": "claim", here: "reproduced", there: "undecided"}]
