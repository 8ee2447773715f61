"""How far the identifier moves the samples, on pictures of one grey."""

import numpy as np
import pandas as pd

from alignsd.adapt import effect
from alignsd.base.images import save_png


def test_the_identifier_s_effect_is_the_mean_difference_of_pixels(tmp_path):
    rows = []
    for step, weird in ((0, 100), (500, 130)):
        for number in range(2):
            for kind, grey in (("plain", 100), ("weird", weird + 10 * number)):
                file = f"{number}-{kind}-{step}.png"
                save_png(tmp_path / file, np.full((4, 4, 3), grey, np.uint8))
                rows.append({"step": step, "index": f"{number}-{kind}", "file": file})
    shuffled = pd.DataFrame(rows).sample(frac=1, random_state=0)
    moved = effect.identifier_effect(shuffled, tmp_path)
    assert moved.to_dict("list") == {"step": [0, 500], "difference": [5.0, 35.0], "n": [2, 2]}
