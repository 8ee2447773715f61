"""Without a network each message names what is missing, where it comes from and where to put it."""

import pytest
from diffusers import StableDiffusionPipeline
from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from alignsd.base.downloads import FAILED, told
from alignsd.base.errors import Problem
from alignsd.models.stable_diffusion import load_pipeline
from alignsd.select.diffusiondb import read_metadata


@pytest.mark.parametrize("error", [HTTPError("no route"), LocalEntryNotFoundError("no route"), OfflineModeIsEnabled("no route"),
                                   ConnectionError("no route"), TimeoutError("no route")])
def test_every_way_in_which_a_download_fails_is_caught(error):
    assert isinstance(error, FAILED) and told(error) == "no route"


def test_an_error_that_says_nothing_is_named():
    assert told(ConnectionError()) == "ConnectionError" and told(OSError("\n  first\nsecond")) == "first"


def test_stable_diffusion(monkeypatch):
    def unreachable(*_, **__):
        raise OSError("Cannot load model: it is not fully cached locally")

    monkeypatch.setattr(StableDiffusionPipeline, "download", unreachable)
    with pytest.raises(Problem, match="'CompVis/stable-diffusion-v1-4' could not be loaded") as problem:
        load_pipeline("CompVis/stable-diffusion-v1-4", "cpu")
    assert "hf download CompVis/stable-diffusion-v1-4 --local-dir data/stable-diffusion-v1-4" in str(problem.value)


def test_diffusiondb_s_table(tmp_path):
    with pytest.raises(Problem, match="no such file at .*metadata-large.parquet") as problem:
        read_metadata(tmp_path / "metadata-large.parquet")
    assert "--prompts-first" in str(problem.value) and "poloclub/diffusiondb" in str(problem.value)


def test_an_endless_line_is_cut():
    assert told(OSError("x" * 10**6)) == "x" * 300
