"""CLIPs of every origin give open_clip's own scores, and wrong weights say so."""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from jaxtyping import Float32
from open_clip.model import build_model_from_openai_state_dict
from safetensors.torch import save_file

from alignsd.base.errors import Problem
from alignsd.models.clip import (
    embed_images,
    embed_texts,
    load_clip,
    preprocess,
    swap_activation,
)
from alignsd.models.clip_pictures import to_square
from alignsd.models.registry import resolve
from alignsd.reward.hps import score

PROMPTS = ["a person in a red shirt", "a person waving on the beach"]
SMALL = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small CLIP with OpenAI's architecture and QuickGELU in open_clip's layout."""
    path = tmp_path_factory.mktemp("clip")
    config = {"model_cfg": SMALL, "preprocess_cfg": {}}
    (path / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{path}", pretrained=None, load_weights=False)
    torch.save(model.state_dict(), path / "open_clip_pytorch_model.bin")
    return path


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(256, size=(*shape, 3), dtype=np.uint8) for shape in ((32, 32), (48, 30))]


def official(folder, path, **extra):
    """Write other weights for that model as the paper's release has its weights.

    The tensors lie below ``state_dict``, and their names begin with ``module.``.
    """
    shipped = torch.load(folder / "open_clip_pytorch_model.bin", weights_only=True)
    # OpenAI's weights are half precision.
    changed = {key: (value + 0.01).half().float() for key, value in shipped.items()}
    state = {f"module.{key}": value for key, value in changed.items()}
    torch.save({"state_dict": state | extra, "epoch": 1}, path)
    return {key.removeprefix("module."): value for key, value in state.items()}


def test_official_weights_score_as_openai_own_architecture_does(folder, images, tmp_path):
    state = official(folder, tmp_path / "hpc.pt")
    ours = load_clip(str(folder), weights=tmp_path / "hpc.pt", device="cpu")
    theirs = build_model_from_openai_state_dict(state, cast_dtype=torch.float32).float().eval()
    padded = np.stack([to_square(image, 32) for image in images])
    mean, std = (
        torch.tensor(ours.model.visual.image_mean),
        torch.tensor(ours.model.visual.image_std),
    )
    pixels = ((torch.from_numpy(padded) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        image, text = (
            theirs.encode_image(pixels, normalize=True),
            theirs.encode_text(open_clip.tokenize(PROMPTS), normalize=True),
        )
    assert np.allclose(score(ours, images, PROMPTS), 100 * (image * text).sum(1).numpy(), atol=1e-3)


def test_gelu_and_quickgelu_give_different_scores(folder, images):
    quick = load_clip(str(folder), device="cpu")
    gelu = swap_activation(quick)
    assert not np.allclose(score(quick, images, PROMPTS), score(gelu, images, PROMPTS), atol=1e-2)
    assert np.array_equal(
        score(swap_activation(gelu), images, PROMPTS), score(quick, images, PROMPTS)
    )


def test_fits_differ_only_for_images_that_are_not_square(folder, images):
    pad, crop = (
        embed_images(load_clip(str(folder), device="cpu", fit=fit), images)
        for fit in ("pad", "crop")
    )
    assert np.allclose(pad[0], crop[0], atol=1e-6) and not np.allclose(pad[1], crop[1], atol=1e-3)


def test_the_crop_keeps_the_middle():
    image = np.zeros((10, 30, 3), dtype=np.uint8)
    image[:, 10:20] = 255
    assert (to_square(image, 10, "crop") == 255).all()
    assert to_square(image, 5, "crop").shape == (5, 5, 3)
    assert (to_square(image, 30)[0] == 0).all()


def test_embeddings_are_unit_vectors_one_per_image_and_text(folder, images):
    clip = load_clip(str(folder), device="cpu")
    pixels = preprocess(clip, images)
    assert isinstance(pixels, Float32[torch.Tensor, "2 3 32 32"])
    of_images = embed_images(clip, images, batch=1)
    of_texts = embed_texts(clip, [*PROMPTS, PROMPTS[0]], batch=1)
    assert isinstance(of_images, Float32[np.ndarray, "2 64"])
    assert isinstance(of_texts, Float32[np.ndarray, "3 64"])
    assert clip.width == 64
    np.testing.assert_allclose(np.linalg.norm(of_images, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(of_texts, axis=1), 1, rtol=1e-5)
    assert np.array_equal(of_texts[0], of_texts[2])
    assert embed_images(clip, []).shape == (0, 0)


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"", b"PK\x03\x04 cut off"])
def test_a_damaged_file_of_weights_says_so(folder, tmp_path, content):
    (tmp_path / "hpc.pt").write_bytes(content)
    with pytest.raises(Problem, match="hpc.pt cannot be read"):
        load_clip(str(folder), weights=tmp_path / "hpc.pt", device="cpu")


def test_weights_that_would_run_code_are_refused(folder, tmp_path):
    torch.save({"state_dict": {"weight": print}}, tmp_path / "hpc.pt")
    with pytest.raises(Problem, match="cannot be read as weights"):
        load_clip(str(folder), weights=tmp_path / "hpc.pt", device="cpu")


def test_weights_of_another_model_name_the_tensor_that_differs(folder, tmp_path):
    official(folder, tmp_path / "hpc.pt", **{"module.visual.proj": torch.zeros(64, 32)})
    with pytest.raises(Problem, match=r"visual.proj \(64, 32\)"):
        load_clip(str(folder), weights=tmp_path / "hpc.pt", device="cpu")


def test_half_a_sharded_file_is_told_as_what_it_is(folder, tmp_path):
    whole = torch.load(folder / "open_clip_pytorch_model.bin", weights_only=True)
    half = dict(list(whole.items())[: len(whole) // 2])
    torch.save(half, tmp_path / "half.pt")
    with pytest.raises(Problem, match="a part of a sharded file, or an unfinished save"):
        load_clip(str(folder), weights=tmp_path / "half.pt", device="cpu")
    shutil.copytree(folder, tmp_path / "clip")
    torch.save(half, tmp_path / "clip" / "open_clip_pytorch_model.bin")
    with pytest.raises(Problem, match="(?s)do not fit open_clip_config.*a part of a sharded file"):
        load_clip(str(tmp_path / "clip"), device="cpu")


def test_whole_numbers_are_not_taken_for_the_weights_of_a_clip(folder, tmp_path):
    """If it failed, weights of 8 bits without their scale would give made-up scores."""
    whole = torch.load(folder / "open_clip_pytorch_model.bin", weights_only=True)
    small = {key: (value * 127).round().clamp(-128, 127).char() for key, value in whole.items()}
    torch.save(small, tmp_path / "int8.pt")
    with pytest.raises(Problem, match="(?s)of int8 numbers.*quantized weights"):
        load_clip(str(folder), weights=tmp_path / "int8.pt", device="cpu")
    place = shutil.copytree(folder, tmp_path / "clip")
    torch.save(small, place / "open_clip_pytorch_model.bin")
    with pytest.raises(Problem, match="(?s)is quantized.*8-bit whole numbers"):
        load_clip(str(place), device="cpu")
    (place / "open_clip_pytorch_model.bin").unlink()
    save_file(small, place / "open_clip_model.safetensors")
    with pytest.raises(Problem, match="(?s)is quantized.*8-bit whole numbers"):
        load_clip(str(place), device="cpu")


def test_the_name_of_a_folder_may_hold_an_equals_sign(folder, tmp_path):
    place = shutil.copytree(folder, tmp_path / "lr=1e-5" / "clip")
    official(folder, tmp_path / "lr=1e-5" / "hpc.pt")
    plain = embed_texts(load_clip(str(place), device="cpu"), PROMPTS)
    assert np.array_equal(plain, embed_texts(load_clip(str(folder), device="cpu"), PROMPTS))
    with_file = f"{place}={tmp_path / 'lr=1e-5' / 'hpc.pt'}"
    tuned = embed_texts(load_clip(with_file, device="cpu"), PROMPTS)
    assert not np.array_equal(plain, tuned)


def test_missing_weights_name_the_place(folder, tmp_path):
    with pytest.raises(Problem, match="docs/data.md"):
        load_clip(str(folder), weights=tmp_path / "absent.pt", device="cpu")


def test_without_network_the_message_names_both_files_and_what_to_set(monkeypatch):
    def unreachable(**_):
        raise LocalEntryNotFoundError("no route to host")

    monkeypatch.setattr("open_clip.pretrained.hf_hub_download", unreachable)
    with pytest.raises(
        Problem, match="weights of the CLIP 'ViT-L-14-quickgelu' could not be fetched"
    ) as problem:
        load_clip("ViT-L-14-quickgelu", device="cpu")
    told = str(problem.value)
    assert (
        "timm/vit_large_patch14_clip_224.openai" in told
        and "ViT-L-14.pt from https://openaipublic" in told
    )
    assert "no route to host" in told and "set clip to ViT-L-14-quickgelu=data/FILE" in told


def test_a_misspelt_name_is_no_question_of_the_network():
    with pytest.raises(Problem, match="list_models"):
        load_clip("ViT-L-41", device="cpu")


def test_openai_s_own_file_is_read_by_its_hash_under_any_name_and_no_other_torchscript(
    folder, images, tmp_path, monkeypatch
):
    state = torch.load(folder / "open_clip_pytorch_model.bin", weights_only=True)
    numbers = {"vocab_size": torch.tensor(49408), "input_resolution": torch.tensor(32)}
    scripted = {key: value.half() for key, value in state.items()} | numbers
    monkeypatch.setattr(
        "torch.jit.load", lambda *_, **__: SimpleNamespace(state_dict=lambda: scripted)
    )
    renamed = tmp_path / "clip-large.pt"
    with zipfile.ZipFile(renamed, "w") as archive:
        archive.writestr("model/constants.pkl", b"")
    with pytest.raises(Problem, match="(?s)clip-large.pt cannot be read as weights.*TorchScript"):
        load_clip(f"{folder}={renamed}", device="cpu")
    digest = hashlib.sha256(renamed.read_bytes()).hexdigest()
    monkeypatch.setattr(
        "open_clip.get_pretrained_url", lambda *_: f"https://openai/{digest}/ViT-L-14.pt"
    )
    found = load_clip(f"{folder}={renamed}", device="cpu")
    expected = embed_images(load_clip(str(folder), device="cpu"), images)
    assert np.allclose(embed_images(found, images), expected, atol=1e-2)


VOCABULARY = ("tokenizer.json", "vocab.json", "merges.txt")


@pytest.mark.parametrize(
    ("absent", "words"),
    [
        (VOCABULARY, "tokenizer without a vocabulary"),
        ((*VOCABULARY, "tokenizer_config.json"), "no tokenizer that can be used"),
        (("tokenizer.json", "merges.txt"), "no tokenizer that can be used"),
        (("tokenizer_config.json",), "no tokenizer that can be used"),
    ],
)
def test_a_clip_without_all_files_of_its_tokenizer_is_refused(tmp_path, absent, words):
    """If it failed, every prompt would be the same prompt."""
    shutil.copytree(resolve("miniature/clip"), tmp_path / "clip")
    for name in absent:
        (tmp_path / "clip" / name).unlink()
    with pytest.raises(Problem, match=f"(?s){words}.*unfinished download"):
        load_clip(str(tmp_path / "clip"), device="cpu")


def test_a_damaged_vocabulary_is_told(tmp_path):
    shutil.copytree(resolve("miniature/clip"), tmp_path / "clip")
    (tmp_path / "clip" / "tokenizer.json").write_text("{")
    with pytest.raises(Problem, match="tokenizer.json"):
        load_clip(str(tmp_path / "clip"), device="cpu")


def test_an_unknown_fit_is_refused():
    with pytest.raises(Problem, match="pad or crop"):
        load_clip("miniature/clip", fit="stretch", device="cpu")


FULL_SIZE = """
import resource, sys
import numpy as np, open_clip, torch
from pathlib import Path
from PIL import Image
from alignsd.models.clip import load_clip
from alignsd.reward.hps import score
path = Path(sys.argv[1])
torch.manual_seed(0)
reference = open_clip.create_model("ViT-L-14-quickgelu", pretrained=None).eval()
torch.save({"state_dict": {f"module.{k}": v for k, v in reference.state_dict().items()}}, path)
image = np.random.default_rng(0).integers(256, size=(224, 224, 3), dtype=np.uint8)
with torch.no_grad():
    visual = reference.visual
    transform = open_clip.image_transform(
        224, is_train=False, mean=visual.image_mean, std=visual.image_std
    )
    pixels = transform(Image.fromarray(image))[None]
    encoded = reference.encode_image(pixels, normalize=True)
    text = reference.encode_text(open_clip.tokenize(["a cat"]), normalize=True)
expected = float(100 * (encoded * text).sum())
del reference
found = score(load_clip("ViT-L-14-quickgelu", weights=path, device="cpu"), [image], ["a cat"])[0]
gelu = score(load_clip("ViT-L-14", weights=path, device="cpu"), [image], ["a cat"])[0]
print(expected, found, gelu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def test_vit_l_14_of_full_size_scores_as_open_clip_s_own_encode(full_size_weights):
    out = subprocess.run(
        [sys.executable, "-c", FULL_SIZE, str(full_size_weights)],
        capture_output=True,
        text=True,
        check=True,
    )
    expected, found, gelu, gigabytes = map(float, out.stdout.split())
    assert found == pytest.approx(expected, abs=1e-3)
    assert abs(gelu - expected) > 1e-2
    assert gigabytes < 8
