import pytest

from alignsd import paths
from alignsd.errors import Problem


def test_folders_of_a_run(kit):
    assert paths.notebooks() == kit / "notebooks"
    assert paths.stage_dir("mini", "02_x") == kit / "papermill_runs" / "mini" / "stages" / "02_x"
    assert paths.figures_dir("mini") == kit / "figures" / "mini"
    assert paths.shown(paths.run_dir("mini") / "a.json") == "papermill_runs/mini/a.json"
    assert paths.shown("/elsewhere/a") == "/elsewhere/a"


def test_output_can_lie_elsewhere(kit, monkeypatch, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("disk")
    monkeypatch.setenv("ALIGNSD_OUTPUT", str(elsewhere))
    assert paths.run_dir("mini") == elsewhere / "papermill_runs" / "mini" and paths.notebooks() == kit / "notebooks"
    assert paths.shown(paths.figures_dir("mini") / "a.png") == "figures/mini/a.png"


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a b", "/tmp"])
def test_a_run_cannot_lead_out_of_its_folder(kit, name):
    with pytest.raises(Problem, match="cannot name a folder"):
        paths.run_dir(name)


def test_without_notebooks_the_message_tells_how_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("ALIGNSD_ROOT", str(tmp_path))
    with pytest.raises(Problem, match="pip install --no-deps -e"):
        paths.root()
