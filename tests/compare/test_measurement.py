"""A value is read off a table by the cells of its row."""

import math

import pandas as pd

from alignsd.compare.measurement import COLUMNS, Measurement, value_of


def test_a_value_by_the_cells_of_its_row():
    rows = [Measurement(0.5, 0, 1, 9).row("original", "fid")]
    rows += [Measurement(0.25, 0, 1, 9).row("adapted", metric) for metric in ("hps", "fid")]
    table = pd.DataFrame(rows, columns=COLUMNS)
    assert value_of(table, arm="adapted", metric="fid") == 0.25
    assert value_of(table, metric="fid") == 0.5
    assert math.isnan(value_of(table, arm="adapted", metric="match_rate"))
    assert math.isnan(value_of(table.head(0), arm="adapted"))
