"""Without a network each message names what is missing, where it comes from and where to put it."""

import pytest
from diffusers import StableDiffusionPipeline
from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from alignsd.base.downloads import FAILED, told
from alignsd.base.errors import Problem
from alignsd.models.stable_diffusion import load_pipeline
from alignsd.select.diffusiondb import read_metadata

KINDS = (
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    ConnectionError,
    TimeoutError,
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_in_which_a_download_fails_is_caught(kind):
    error = kind("no route")
    assert isinstance(error, FAILED)
    assert told(error) == "no route"


def test_an_error_that_says_nothing_is_named():
    assert told(ConnectionError()) == "ConnectionError"
    assert told(OSError("\n  first\nsecond")) == "first"


def test_stable_diffusion(monkeypatch):
    def unreachable(*_, **__):
        raise OSError("Cannot load model: it is not fully cached locally")

    monkeypatch.setattr(StableDiffusionPipeline, "download", unreachable)
    model = "CompVis/stable-diffusion-v1-4"
    with pytest.raises(Problem, match=f"'{model}' could not be loaded") as problem:
        load_pipeline(model, "cpu")
    command = f"hf download {model} --local-dir data/stable-diffusion-v1-4"
    assert command in str(problem.value)


def test_diffusiondb_s_table(tmp_path):
    with pytest.raises(Problem, match="no such file at .*metadata-large.parquet") as problem:
        read_metadata(tmp_path / "metadata-large.parquet")
    message = str(problem.value)
    assert "--prompts-first" in message
    assert "poloclub/diffusiondb" in message


def test_an_endless_line_is_cut():
    assert told(OSError("x" * 10**6)) == "x" * 300
