"""Stand-ins for models, whose outputs can be worked out by hand."""

from types import SimpleNamespace

import numpy as np
import torch

from alignsd.miniature.world import FLAWS


class Mean(torch.nn.Module):
    """Features: the mean of each colour."""

    def forward(self, pictures):
        return pictures.float().mean((2, 3))


class OddIsWrong:
    """A judge that sees a missing arm where red is odd, and a match where the prompt says so."""

    def matches(self, prompts):
        return np.array(["match" in prompt for prompt in prompts])

    def judge(self, pictures):
        odd = np.stack(pictures)[:, 0, 0, 0] % 2 == 1
        names = [FLAWS[int(is_odd)] for is_odd in odd]
        return SimpleNamespace(flawed=odd, flaw_names=names, matches=self.matches)
