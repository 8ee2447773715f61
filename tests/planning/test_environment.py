import shutil

import pytest

from alignsd.base.errors import Problem
from alignsd.base.paths import SHIPPED
from alignsd.planning import environment
from alignsd.planning.environment import (
    Check,
    check_environment,
    notebook_map,
    preset_table,
    require,
)


def test_this_machine_can_run_the_notebooks():
    checks = check_environment(memory=1, disk=0.1)
    assert [c for c in checks if c.state == "missing"] == []
    require(checks)
    assert {"Python", "packages", "miniature's models", "memory", "free disk", "device"} <= {c.what for c in checks}


def test_what_is_missing_is_named_with_its_command(kit, monkeypatch):
    (kit / "requirements.txt").write_text("numpy==0.0.1\nno_such_package==1.0  ; x\n# Theirs:\nother==1\n")
    checks = {c.what: c for c in check_environment(memory=1e6, disk=1e9)}
    assert (checks["numpy"].state, checks["no_such_package"].state) == ("note", "missing") and "other" not in checks
    assert checks["packages"].found == "0 are" and checks["memory"].state == "note"
    with pytest.raises(Problem, match="(?s)no_such_package 1.0.*not installed.*pip install -r .*requirements.txt"):
        require(list(checks.values()))
    assert "ALIGNSD_OUTPUT" in checks["free disk"].fix


def test_a_disk_is_looked_at_before_the_folder_on_it_is_made(kit, monkeypatch, tmp_path):
    (kit / "requirements.txt").write_text("")
    monkeypatch.setenv("ALIGNSD_OUTPUT", str(tmp_path / "not" / "yet"))
    checks = {c.what: c for c in check_environment(memory=1, disk=0)}
    assert checks["free disk"].state == "ok" and not (tmp_path / "not").exists()


def test_every_complaint_comes_with_a_fix(kit, monkeypatch, tmp_path):
    (kit / "requirements.txt").write_text("no_such_package==1.0\n")
    monkeypatch.setattr(environment, "SHIPPED", tmp_path / "none")
    checks = check_environment(memory=1e6, disk=1e9)
    assert [c.what for c in checks if (c.state == "ok") != (c.fix == "")] == []
    assert next(c for c in checks if c.what == "miniature's models").state == "missing"


def test_a_shipped_model_that_is_missing_or_another_is_named(monkeypatch, tmp_path):
    shutil.copytree(SHIPPED, tmp_path / "weights")
    monkeypatch.setattr(environment, "SHIPPED", tmp_path / "weights")
    (tmp_path / "weights/judge/judge.safetensors").unlink()
    (tmp_path / "weights/aesthetic/linear.safetensors").write_bytes(b"cut off")
    (models,) = (check for check in check_environment(1, 0.1) if check.what == "miniature's models")
    assert models.state == "missing" and "judge.safetensors" in models.found and "linear.safetensors" in models.found


def test_map_and_presets_come_from_the_notebooks_themselves(notebook):
    notebook("01_first", "seed = 0  # seed", prose="# 01\n\n**Purpose.** Do it. Paper: section 3.")
    assert notebook_map("mini", "mini") == [("01_first", "Do it.", "-")]


def test_preset_table_lists_what_differs():
    assert preset_table("mini") == [] and all(name[:2].isdigit() for name, _, _ in preset_table("smoke"))


def test_a_package_built_for_a_device_counts_as_pinned(monkeypatch):
    monkeypatch.setattr(environment.metadata, "version", lambda name: "1.2+cpu")
    assert environment._package("torch", "1.2") == Check("torch", "1.2", "1.2+cpu", "ok")


def test_a_gpu_that_is_too_small_or_absent_is_missing(monkeypatch):
    import torch

    assert {c.what: c for c in check_environment(1, 0.1, gpu_memory=1e6)}["device"].state == "missing"
    small = type("Properties", (), {"name": "a card", "total_memory": 8 * 2**30})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: small)
    states = {gib: {c.what: c for c in check_environment(1, 0.1, gpu_memory=gib)}["device"].state for gib in (0, 8, 20)}
    assert states == {0: "ok", 8: "ok", 20: "missing"}


@pytest.mark.parametrize("card", ["", "{", "[]", "null", '{"sha256": 5}', '{"sha256": null}', "[" * 9999])
def test_a_damaged_card_of_the_models_is_missing_models(monkeypatch, tmp_path, card):
    monkeypatch.setattr(environment, "SHIPPED", tmp_path)
    (tmp_path / "model_card.json").write_text(card)
    (models,) = (check for check in check_environment(1, 0.1) if check.what == "miniature's models")
    assert models.state == "missing" and models.fix == "git checkout alignsd/miniature/weights"


def test_memory_is_measured_on_every_system(monkeypatch):
    """Windows has no ``os.sysconf``."""
    monkeypatch.delattr(environment.os, "sysconf", raising=False)
    (memory,) = (check for check in check_environment(0.1, 0.1) if check.what == "memory")
    assert memory.state == "ok" and float(memory.found.removesuffix(" GiB")) > 0.1
