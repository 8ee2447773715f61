import shutil

import pytest
import torch

from alignsd.base.errors import Problem
from alignsd.base.paths import SHIPPED, root
from alignsd.kit.values.notebook_files import notebook_names, notebook_path, read_cells
from alignsd.planning import environment
from alignsd.planning.environment import (
    Check,
    check_environment,
    notebook_map,
    preset_table,
    require,
)
from alignsd.planning.purposes import PURPOSES


def write_pins(kit, pins):
    """Write a project that depends on numpy, and with an extra on no_such_package."""
    project = '[project]\ndependencies = ["numpy>=2.0"]\n'
    project += '[project.optional-dependencies]\ntest = ["No.Such-Package>=1  ; x"]\n'
    (kit / "pyproject.toml").write_text(project)
    (kit / "requirements.txt").write_text(pins)


def checks_by_name(*needs, **more_needs):
    return {check.what: check for check in check_environment(*needs, **more_needs)}


def test_this_machine_can_run_the_notebooks():
    checks = check_environment(memory=1, disk=0.1)
    assert [check for check in checks if check.state == "missing"] == []
    require(checks)
    expected = {"Python", "packages", "miniature's models", "memory", "free disk", "device"}
    assert expected <= {check.what for check in checks}


def test_what_is_missing_is_named_with_its_command(kit, monkeypatch):
    write_pins(kit, "numpy==0.0.1\nno_such_package==1.0  ; x\nother==1\n")
    checks = checks_by_name(memory=1e6, disk=1e9)
    assert checks["numpy"].state == "note"
    assert checks["no_such_package"].state == "missing"
    assert "other" not in checks
    assert checks["packages"].found == "0 are"
    assert checks["memory"].state == "note"
    expected = "(?s)no_such_package 1.0.*not installed.*pip install -r .*requirements.txt"
    with pytest.raises(Problem, match=expected):
        require(list(checks.values()))
    assert "ALIGNSD_OUTPUT" in checks["free disk"].fix


def test_a_disk_is_looked_at_before_the_folder_on_it_is_made(kit, monkeypatch, tmp_path):
    write_pins(kit, "")
    monkeypatch.setenv("ALIGNSD_OUTPUT", str(tmp_path / "not" / "yet"))
    assert checks_by_name(memory=1, disk=0)["free disk"].state == "ok"
    assert not (tmp_path / "not").exists()


def test_every_complaint_comes_with_a_fix(kit, monkeypatch, tmp_path):
    write_pins(kit, "no_such_package==1.0\n")
    monkeypatch.setattr(environment, "SHIPPED", tmp_path / "none")
    checks = checks_by_name(memory=1e6, disk=1e9)
    for check in checks.values():
        assert (check.state == "ok") == (check.fix == ""), check
    assert checks["miniature's models"].state == "missing"


def test_a_shipped_model_that_is_missing_or_another_is_named(monkeypatch, tmp_path):
    shutil.copytree(SHIPPED, tmp_path / "weights")
    monkeypatch.setattr(environment, "SHIPPED", tmp_path / "weights")
    (tmp_path / "weights/judge/judge.safetensors").unlink()
    (tmp_path / "weights/aesthetic/linear.safetensors").write_bytes(b"cut off")
    models = checks_by_name(1, 0.1)["miniature's models"]
    assert models.state == "missing"
    assert "judge.safetensors" in models.found
    assert "linear.safetensors" in models.found


def test_map_and_presets_come_from_the_notebooks_themselves(notebook):
    notebook("01_first", "seed = 0  # seed")
    notebook("06_generate", "seed = 0  # seed")
    purpose = PURPOSES["06_generate"]
    assert notebook_map("mini", "mini") == [("01_first", "", "-"), ("06_generate", purpose, "-")]


def test_preset_table_lists_what_differs():
    assert preset_table("mini") == []
    smoke = preset_table("smoke")
    assert smoke and all(notebook[:2].isdigit() for notebook, _, _ in smoke)


def test_a_package_built_for_a_device_counts_as_pinned(monkeypatch):
    monkeypatch.setattr(environment.metadata, "version", lambda name: "1.2+cpu")
    assert environment._package("torch", "1.2") == Check("torch", "1.2", "1.2+cpu", "ok")


def test_a_gpu_that_is_too_small_or_absent_is_missing(monkeypatch):
    assert checks_by_name(1, 0.1, gpu_memory=1e6)["device"].state == "missing"
    small = type("Properties", (), {"name": "a card", "total_memory": 8 * 2**30})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: small)
    for gib, state in {0: "ok", 8: "ok", 20: "missing"}.items():
        assert checks_by_name(1, 0.1, gpu_memory=gib)["device"].state == state


BAD_CARDS = ["", "{", "[]", "null", '{"sha256": 5}', '{"sha256": null}', "[" * 9999]


@pytest.mark.parametrize("card", BAD_CARDS)
def test_a_damaged_card_of_the_models_is_missing_models(monkeypatch, tmp_path, card):
    monkeypatch.setattr(environment, "SHIPPED", tmp_path)
    (tmp_path / "model_card.json").write_text(card)
    models = checks_by_name(1, 0.1)["miniature's models"]
    assert models.state == "missing"
    assert models.fix == "git checkout alignsd/miniature/weights"


def test_memory_is_measured_on_every_system(monkeypatch):
    """Windows has no ``os.sysconf``."""
    monkeypatch.delattr(environment.os, "sysconf", raising=False)
    memory = checks_by_name(0.1, 0.1)["memory"]
    assert memory.state == "ok"
    assert float(memory.found.removesuffix(" GiB")) > 0.1


def test_every_notebook_opens_with_its_purpose():
    assert list(PURPOSES) == notebook_names()
    for name, purpose in PURPOSES.items():
        assert f"**Purpose.** {purpose}" in read_cells(notebook_path(name))[0]["source"]


def test_the_packages_are_the_direct_dependencies():
    """requirements.txt lists the direct dependencies first, and then what these depend on."""
    direct = (root() / "requirements.txt").read_text().split("# Theirs")[0]
    needed = checks_by_name(1, 0.1)["packages"].needed
    assert needed == f"{direct.count('==')} as pinned"
