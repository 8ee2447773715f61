from pathlib import Path

import numpy as np
import pytest

from alignsd import sources
from alignsd.adapt.regularization import Wanted
from alignsd.base import folders, paths
from alignsd.base.errors import Problem
from alignsd.base.images import save_png
from alignsd.collect import exports, privacy
from alignsd.kit.provenance import file_sha256
from alignsd.kit.stage import begin
from alignsd.models import clip, registry
from alignsd.select import diffusiondb


def test_folders_of_a_run(kit):
    assert paths.notebooks() == kit / "notebooks"
    assert paths.stage_dir("mini", "02_x") == kit / "papermill_runs" / "mini" / "stages" / "02_x"
    assert paths.figures_dir("mini") == kit / "figures" / "mini"
    assert paths.shown(paths.run_dir("mini") / "a.json") == "papermill_runs/mini/a.json"
    assert paths.shown("/elsewhere/a") == "/elsewhere/a"


def test_output_can_lie_elsewhere(kit, monkeypatch, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("disk")
    monkeypatch.setenv("ALIGNSD_OUTPUT", str(elsewhere))
    assert paths.run_dir("mini") == elsewhere / "papermill_runs" / "mini"
    assert paths.notebooks() == kit / "notebooks"
    assert paths.shown(paths.figures_dir("mini") / "a.png") == "figures/mini/a.png"


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a b", "/tmp", "-", "--force"])
def test_a_run_cannot_lead_out_of_its_folder(kit, name):
    with pytest.raises(Problem, match="cannot name a folder"):
        paths.run_dir(name)


def test_without_notebooks_the_message_tells_how_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("ALIGNSD_ROOT", str(tmp_path))
    with pytest.raises(Problem, match="pip install --no-deps -e"):
        paths.root()


@pytest.mark.parametrize("where", [".", "notebooks", "elsewhere"])
def test_a_parameter_means_the_same_file_in_each_folder(kit, notebook, monkeypatch, where):
    """JupyterLab's kernels start in notebooks/, and those of ``alignsd run`` in the repository."""
    notebook("01_first", "seed = 0  # seed")
    (kit / "elsewhere").mkdir()
    own = kit / "data"
    own.mkdir()
    for name in ("names.txt", "channel.json", "metadata.jsonl"):
        (own / name).write_text("one\ntwo\n")
    for name in ("a.png", "b.png"):
        save_png(own / name, np.zeros((8, 8, 3), np.uint8))
    monkeypatch.chdir(kit / where)
    assert paths.user_path("data/a") == own / "a"
    assert paths.user_path("/a") == Path("/a")
    stage = begin("01_first", {"run": "mini", "seed": 0})
    assert stage.input("00_none", instead="data") == own
    names = "data/names.txt"
    assert sources.prompts(names, 2, seed=0) == ["one", "two"]
    assert privacy.read_names(names) == ["one", "two"]
    assert exports.export_files("data/channel.json") == [own / "channel.json"]
    assert diffusiondb.parts_folder("data") == own
    assert sources.regularization("data", own, 0, Wanted(1)) == own
    pictures, _ = sources.fid_reference("data", [], seed=0)
    assert len(list(pictures)) == 2
    assert registry.resolve(names) == str(own / "names.txt")
    assert registry.resolve("ViT-L-14") == "ViT-L-14"
    assert file_sha256(names) == file_sha256(own / "names.txt")
    with pytest.raises(Problem, match="(?s)names.txt cannot be read as weights"):
        clip.load_clip("miniature/clip", weights=names, device="cpu")


def test_a_home_folder_is_known_or_said_to_be_missing(kit, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folders.home() == tmp_path and paths.user_path("~/a") == tmp_path / "a"
    monkeypatch.setenv("HOME", "/")
    assert folders.home() == Path("/") and paths.user_path("~/a") == Path("/a")
    for nowhere in ("", "relative"):
        monkeypatch.setenv("HOME", nowhere)
        assert folders.home() is None
        with pytest.raises(Problem, match="(?s)~/a has no meaning here.*HOME"):
            paths.user_path("~/a")
        assert paths.user_path("~") == kit / "~", "free text, such as an identifier, is no path"


def test_a_user_without_an_entry_and_without_home(kit, monkeypatch):
    def none():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    assert folders.home() is None
    with pytest.raises(Problem, match="container"):
        paths.user_path("~/data")


def test_an_output_folder_may_start_at_home_or_where_the_reader_is(kit, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ALIGNSD_OUTPUT", "~/out")
    assert paths.output() == tmp_path / "out"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("ALIGNSD_OUTPUT", "out")
    assert paths.output() == tmp_path / "elsewhere" / "out"


@pytest.mark.parametrize("length", [101, 300, 5000])
def test_a_runs_name_is_shorter_than_a_folder_can_hold(kit, length):
    with pytest.raises(Problem, match=f"(?s){length} characters.*name that is too long"):
        paths.run_dir("r" * length)
    assert paths.run_dir("r" * 100).name == "r" * 100
