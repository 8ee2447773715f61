"""No loading bars of other libraries where the kit loads a model: a saved notebook loses them."""

import sys

import pytest
from diffusers.utils import logging as of_diffusers
from huggingface_hub import utils as hub
from transformers.utils import logging as of_transformers

from alignsd.models.quiet import no_library_bars
from alignsd.models.stable_diffusion import load_pipeline


@pytest.fixture(autouse=True)
def bars_are_on():
    for library in (of_diffusers, of_transformers):
        library.enable_progress_bar()
    hub.enable_progress_bars()


def test_no_library_shows_a_bar_afterwards(tmp_path, capsys):
    no_library_bars(str(tmp_path))
    assert (
        not of_diffusers.is_progress_bar_enabled() and not of_transformers.is_progress_bar_enabled()
    )
    assert hub.are_progress_bars_disabled()
    assert capsys.readouterr().out == "", "a folder of this machine is not fetched"


def test_a_download_without_a_bar_is_announced_in_words(capsys):
    no_library_bars("somebody/model")
    assert capsys.readouterr().out.startswith("Loading somebody/model from the Hugging Face hub.")


def test_a_pipeline_is_loaded_without_a_bar(capfd):
    load_pipeline("miniature/stable-diffusion", "cpu")
    shown = capfd.readouterr()
    assert "%|" not in shown.err + shown.out and shown.out == ""


def test_importing_the_kit_does_not_change_what_others_show():
    assert "alignsd.models.stable_diffusion" in sys.modules
    assert of_diffusers.is_progress_bar_enabled() and of_transformers.is_progress_bar_enabled()
