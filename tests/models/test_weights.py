"""Files of weights are named for what they are; equal tensors are written as equal bytes."""

import argparse
import io
import json
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save, save_file

from alignsd.base.errors import Problem
from alignsd.miniature.judge import load_judge
from alignsd.models.aesthetic import load_aesthetic
from alignsd.models.clip import load_clip
from alignsd.models.clip_weights import read_weights
from alignsd.models.files import weights
from alignsd.models.lora.files import read_lora
from alignsd.models.registry import resolve

GOOD = {"weight": torch.ones(1, 4), "bias": torch.ones(1)}
BAD = ("weights_only", "add_safe_globals", "trust the source")


def torch_bytes(value, **options):
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def zipped(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return stream.getvalue()


def tarred():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return stream.getvalue()


NEW, OLD = torch_bytes(GOOD), torch_bytes(GOOD, _use_new_zipfile_serialization=False)
SAFE = save(GOOD)
KINDS = {
    "empty": (b"", "empty file"),
    "page": (b"<!DOCTYPE html><html>log in</html>", "web page"),
    "page with a mark": (b"\xef\xbb\xbf\n  <html>", "web page"),
    "XML": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "web page"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n", "Git LFS"),
    "JSON": (b'{"error": "Entry not found"}', "JSON text"),
    "text": (b"Entry not found", "a text file"),
    "UTF-16 page": ("\ufeff<html>".encode("utf-16-le"), "web page"),
    "code": (torch_bytes({"a": print}), "calls print"),
    "old code": (torch_bytes({"a": print}, _use_new_zipfile_serialization=False), "calls print"),
    "module": (torch_bytes(torch.nn.Linear(1, 1)), "calls torch.nn.modules.linear.Linear"),
    "arguments": (torch_bytes({"a": argparse.Namespace()}), "calls argparse.Namespace"),
    "TorchScript": (
        zipped(m__constants=b"", **{"m__constants.pkl": b"", "m__data.pkl": b""}),
        "TorchScript",
    ),
    "zip": (zipped(**{"weights.bin": b"x"}), "zip archive that torch did not write"),
    "cut archive": (NEW[: len(NEW) // 2], "without its end"),
    "cut pickle": (OLD[: len(OLD) // 2], "ends too early"),
    "cut tensors": (OLD[:-3], "ends too early"),
    "cut safetensors": (SAFE[:-4], "of .* bytes"),
    "cut header": (SAFE[:20], "less than its header"),
    "tar": (tarred(), "archive of tar"),
    "gzip": (b"\x1f\x8b\x08\x00", "gzip"),
    "PNG": (b"\x89PNG\r\n\x1a\n", "PNG picture"),
    "GGUF": (b"GGUF\x03\x00", "GGUF"),
    "bytes": (bytes(range(129, 256)), "(no known kind|do not begin as safetensors)"),
    "list": (torch_bytes([torch.ones(1), torch.ones(1)]), "a list of 2"),
    "number": (torch_bytes(3), "a number"),
    "None": (torch_bytes(None), "None"),
    "tensor": (torch_bytes(torch.ones(2)), "a tensor"),
    "empty dict": (torch_bytes({}), "no tensors"),
    "numbers": (torch_bytes({"weight": 1}), "no tensor, but a number"),
    "lists": (torch_bytes({"weight": [1]}), "no tensor, but a list"),
    "words": (torch_bytes({"weight": "x"}), "no tensor, but text"),
    "int keys": (torch_bytes({1: torch.ones(1)}), "no tensors by name"),
    "nested": (torch_bytes({"generator": {"weight": torch.ones(1)}}), "a dictionary"),
    "sparse": (torch_bytes({"weight": torch.ones(2, 2).to_sparse()}), "sparse"),
    "meta": (torch_bytes({"weight": torch.ones(2, device="meta")}), "without numbers"),
    "complex": (torch_bytes({"weight": torch.ones(2, dtype=torch.complex64)}), "complex64"),
    "repeated": (torch_bytes({"weight": torch.ones(1).expand(10**9)}), "more than the file holds"),
    "NaN": (
        torch_bytes({"weight": torch.tensor([1.0, float("nan")])}),
        "1 of 2 numbers .*not finite",
    ),
    "inf": (save({"weight": torch.tensor([float("inf")])}), "not finite"),
    "inf in half": (save({"weight": torch.tensor([float("-inf")]).half()}), "not finite"),
    "NaN in 8 bits": (
        torch_bytes({"weight": torch.tensor([float("nan")]).to(torch.float8_e4m3fn)}),
        "not finite",
    ),
    "too large for single": (
        save({"weight": torch.tensor([1e300], dtype=torch.float64)}),
        "not finite",
    ),
}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_file_is_named_for_what_it_is(tmp_path, kind, suffix):
    content, words = KINDS[kind]
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(
        Problem, match=rf"(?s)model\{suffix} cannot be read as weights.*found: +.*{words}"
    ) as told:
        weights.read_tensors(path, "weights")
    assert not any(advice in str(told.value) for advice in BAD), (
        "torch's advice lets a file run code"
    )
    assert len(str(told.value).splitlines()) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_each_reader_tells_the_same(tmp_path, kind):
    path = tmp_path / "model.bin"
    path.write_bytes(KINDS[kind][0])
    readers = (
        read_weights,
        load_judge,
        lambda p: load_aesthetic(str(p)),
        lambda p: read_lora(p, torch.nn.Module()),
    )
    for reader in readers:
        with pytest.raises(Problem, match=rf"(?s)found: +.*{KINDS[kind][1]}"):
            reader(path)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model_state_dict": s, "loss": 0.5},
        lambda s: {"model": s},
        lambda s: {f"module.{k}": v for k, v in s.items()},
        lambda s: {f"model.module.{k}": v for k, v in s.items()},
        lambda s: {"state_dict": {f"_orig_mod.{k}": v.requires_grad_() for k, v in s.items()}},
    ],
)
@pytest.mark.parametrize("old", [False, True])
def test_tensors_are_found_where_training_scripts_keep_them(tmp_path, wrapped, old):
    state = {name: value.clone() for name, value in GOOD.items()}
    torch.save(wrapped(state), tmp_path / "x.ckpt", _use_new_zipfile_serialization=not old)
    read = weights.read_tensors(tmp_path / "x.ckpt", "weights")
    assert read.keys() == GOOD.keys() and all(torch.equal(read[name], GOOD[name]) for name in GOOD)
    assert load_aesthetic(str(tmp_path / "x.ckpt")).predict(np.ones((1, 4))) == [5.0]


def test_the_content_decides_not_the_name(tmp_path):
    (tmp_path / "a.pth").write_bytes(SAFE)
    (tmp_path / "b.safetensors").write_bytes(NEW)
    for name in ("a.pth", "b.safetensors"):
        assert torch.equal(
            weights.read_tensors(tmp_path / name, "weights")["weight"], GOOD["weight"]
        )


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "absent.pt", "."])
def test_names_that_no_file_has_are_told(tmp_path, name):
    for call in (
        lambda: weights.read_tensors(tmp_path / name, "weights"),
        lambda: read_weights(tmp_path / name),
    ):
        with pytest.raises(Problem) as told:
            call()
        assert len(str(told.value)) < 1500
    with pytest.raises(Problem):
        load_clip(name, device="cpu")
    with pytest.raises(Problem):
        load_aesthetic(name)


def test_openai_s_extra_numbers_and_prefixes_are_left_out(tmp_path):
    state = load_clip("miniature/clip", device="cpu").model.state_dict()
    extra = {
        "input_resolution": torch.tensor(64),
        "context_length": torch.tensor(77),
        "vocab_size": torch.tensor(9),
    }
    torch.save({f"model.{name}": value for name, value in state.items()} | extra, tmp_path / "a.pt")
    torch.save(
        {f"module.{name}": value for name, value in (state | extra).items()}, tmp_path / "b.pt"
    )
    for name in ("a.pt", "b.pt"):
        loaded = load_clip(f"miniature/clip={tmp_path / name}", device="cpu").model.state_dict()
        assert all(torch.equal(loaded[key], state[key]) for key in state)


def test_weights_of_another_kind_are_named(tmp_path):
    torch.save({"unet.lora_A.weight": torch.ones(1)}, tmp_path / "a.pt")
    with pytest.raises(Problem, match="a LoRA"):
        load_clip(f"miniature/clip={tmp_path / 'a.pt'}", device="cpu")
    torch.save({"vision_model.text_model.x": torch.ones(1)}, tmp_path / "b.pt")
    with pytest.raises(Problem, match="as transformers saves it"):
        load_clip(f"miniature/clip={tmp_path / 'b.pt'}", device="cpu")


def test_loading_weights_says_nothing_of_random_ones(tmp_path, caplog):
    save_file(
        load_clip("miniature/clip", device="cpu").model.state_dict(), tmp_path / "a.safetensors"
    )
    load_clip("miniature/clip", tmp_path / "a.safetensors", "cpu")
    assert "No pretrained weights" not in caplog.text


def test_a_folder_without_weights_gives_no_random_scores(tmp_path):
    config = json.loads(open(f"{resolve('miniature/clip')}/open_clip_config.json").read())
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(Problem):
        load_clip(str(tmp_path), device="cpu")
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"<html>")
    with pytest.raises(Problem, match="web page"):
        load_clip(str(tmp_path), device="cpu")
    (tmp_path / "open_clip_config.json").write_text("[" * 100_000)
    with pytest.raises(Problem, match="nested too deeply"):
        load_clip(str(tmp_path), device="cpu")


WRITE = """
import sys, torch
from pathlib import Path
from alignsd.adapt import lora
from alignsd.models.files import weights
from alignsd.models.lora import files as lora_files
from alignsd.reward import hps
from alignsd.models.clip import load_clip
from alignsd.models.stable_diffusion import load_pipeline
folder = Path(sys.argv[1])
words = {f"entry {i}": f"wörd \\n{i}\\\\" for i in range(30)}
tensors = {"b": torch.ones(2), "a": torch.zeros(0), "c": torch.ones(3).half()}
weights.write_tensors(folder / "words.safetensors", tensors, words)
unet = load_pipeline("miniature/stable-diffusion", "cpu").unet
lora.add_lora(unet, 4, 0)
lora_files.save_lora(unet, folder / "lora", words)
hps.save_hps(load_clip("miniature/clip", device="cpu"), folder / "hps.safetensors")
"""


def test_equal_tensors_are_equal_bytes_in_two_processes(tmp_path, monkeypatch):
    folders = [tmp_path / "1", tmp_path / "2"]
    for folder in folders:
        folder.mkdir()
    subprocess.run([sys.executable, "-c", WRITE, str(folders[0])], check=True, capture_output=True)
    monkeypatch.setattr(sys, "argv", ["", str(folders[1])])
    exec(WRITE, {})
    files = sorted(path.relative_to(folders[0]) for path in folders[0].rglob("*.safetensors"))
    assert len(files) == 4
    for file in files:
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes(), file
    read = load_file(folders[0] / "words.safetensors")
    assert torch.equal(read["b"], torch.ones(2)) and torch.equal(read["c"], torch.ones(3).half())
    about = weights.read_metadata(folders[0] / "words.safetensors", "weights")
    assert about == {f"entry {i}": f"wörd \n{i}\\" for i in range(30)}


def test_metadata_is_read_from_a_file_that_begins_as_a_pickle_does(tmp_path):
    """A header of 128 bytes begins with the byte 0x80, as the files of older torch do."""
    for length in range(256):
        content = save(GOOD, {"note": "x" * length})
        if content[0] == 0x80:
            break
    (tmp_path / "a.bin").write_bytes(content)
    assert weights.read_metadata(tmp_path / "a.bin", "weights") == {"note": "x" * length}


def test_a_predictor_of_another_clip_is_told(tmp_path):
    save_file(GOOD, tmp_path / "a.safetensors")
    with pytest.raises(Problem, match="(?s)does not fit the CLIP.*64 numbers.*4 numbers"):
        load_aesthetic(str(tmp_path / "a.safetensors")).predict(np.ones((2, 64)))
