"""What a stage takes from outside its run: files count by content, folders by names and sizes."""

import pytest

from alignsd.base.errors import Problem
from alignsd.kit import provenance
from alignsd.kit.provenance import own_inputs


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A shipped model of the test's own."""
    monkeypatch.setattr(provenance, "SHIPPED", tmp_path / "weights")
    (tmp_path / "weights/clip").mkdir(parents=True)
    (tmp_path / "weights/clip/model.safetensors").write_bytes(b"first")
    return tmp_path / "weights"


def test_a_shipped_model_counts_with_its_content(kit, weights):
    """If it failed, new weights would leave the stages of the old ones in place."""
    before = own_inputs({"clip": "miniature/clip", "judge": "miniature/judge"})
    assert list(before) == ["model of clip"]
    assert len(before["model of clip"]) == 16
    (weights / "clip/model.safetensors").write_bytes(b"other")
    assert own_inputs({"clip": "miniature/clip"}) != before


def test_a_file_counts_with_its_content_and_a_folder_with_names_and_sizes(kit):
    (kit / "data").mkdir()
    (kit / "data/prompts.txt").write_text("a cat")
    settings = {
        "prompts": "data/prompts.txt",
        "parts": "data",
        "seed": 0,
        "words": ["data"],
        "run": "data",
        "device": "data",
    }
    first = own_inputs(settings)
    assert set(first) == {"file of prompts", "folder of parts"}
    (kit / "data/prompts.txt").write_text("a dog")
    same_size = own_inputs(settings)
    assert same_size["file of prompts"] != first["file of prompts"]
    assert same_size["folder of parts"] == first["folder of parts"]
    (kit / "data/deep").mkdir()
    (kit / "data/deep/part-000002.zip").write_bytes(b"12")
    more = own_inputs(settings)
    (kit / "data/deep/part-000002.zip").write_bytes(b"123")
    assert len({state["folder of parts"] for state in (first, more, own_inputs(settings))}) == 3


def test_what_a_notebook_writes_beside_its_input_does_not_count(kit):
    (kit / "data").mkdir()
    (kit / "data/channel.json").write_text("{}")
    before = own_inputs({"export": "data"})
    (kit / "data/user.key").write_text("secret")
    (kit / "data/.cache").mkdir()
    (kit / "data/.cache/a").write_text("x")
    assert own_inputs({"export": "data"}) == before


def test_words_that_are_no_path_do_not_count(kit):
    words = {
        "identifier": "Weird image. ",
        "model": "CompVis/stable-diffusion-v1-4",
        "odd": "~none",
        "zero": "\0",
        "no": "",
    }
    assert own_inputs(words) == {}


def test_what_an_operating_system_leaves_does_not_count_and_a_dead_link_does_no_harm(kit):
    (kit / "data").mkdir()
    (kit / "data/a.zip").write_bytes(b"12")
    before = own_inputs({"parts": "data"})
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._a.zip"):
        (kit / "data" / name).write_text("x")
    (kit / "data/__MACOSX").mkdir()
    (kit / "data/__MACOSX/a.zip").write_text("x")
    assert own_inputs({"parts": "data"}) == before
    (kit / "data/link").symlink_to(kit / "nowhere")
    assert own_inputs({"parts": "data"}) != before


def test_a_file_that_cannot_be_opened_names_its_parameter(kit, monkeypatch):
    (kit / "prompts.txt").write_text("a cat")

    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(Problem, match="(?s)parameter prompts cannot be read.*Permission denied"):
        own_inputs({"prompts": "prompts.txt"})
