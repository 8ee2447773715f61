"""Every score loads from a file in its authors' format, and says what is missing."""

import shutil
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch
from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, CLIPConfig, CLIPModel

from alignsd.base.errors import Problem
from alignsd.base.paths import root
from alignsd.miniature import WEIGHTS
from alignsd.reward import other_scores
from alignsd.reward.hps import score

IMAGES = [np.random.default_rng(i).integers(256, size=(32, 32, 3), dtype=np.uint8) for i in (0, 1)]
PROMPTS = ["a person in a red shirt", "a person in a red shirt waving on the beach"]


@pytest.fixture(scope="module")
def pickscore(tmp_path_factory):
    """A small CLIP as transformers saves it, with the miniature's tokenizer."""
    folder = tmp_path_factory.mktemp("pickscore")
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / "stable-diffusion" / "tokenizer")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    layers = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
    text = layers | dict(
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        max_position_embeddings=77,
    )
    vision = layers | dict(image_size=32, patch_size=8)
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    CLIPModel(config).save_pretrained(folder)
    return folder


def test_pickscore_is_transformers_own_logit(pickscore):
    model = CLIPModel.from_pretrained(pickscore).eval()
    tokenizer = AutoTokenizer.from_pretrained(pickscore)
    mean, std = torch.tensor(other_scores.OPENAI_MEAN), torch.tensor(other_scores.OPENAI_STD)
    pixels = ((torch.from_numpy(np.stack(IMAGES)) / 255 - mean) / std).permute(0, 3, 1, 2)
    tokens = tokenizer(PROMPTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**tokens, pixel_values=pixels).logits_per_image
    scorers = other_scores.load_scorers([f"PickScore={pickscore}"], "cpu")
    scores = score(scorers["PickScore"], IMAGES, PROMPTS)
    assert np.allclose(scores, logits.diagonal().numpy(), atol=1e-4)


def test_an_unknown_score_lists_the_known_ones():
    with pytest.raises(Problem, match="CLIP score, HPS v1, HPS v2, HPS v2.1, PickScore"):
        other_scores.load_scorer("HPS v3")


def test_hps_v1_is_on_no_hub_and_says_where_it_is_told():
    with pytest.raises(Problem, match="docs/data.md"):
        other_scores.load_scorer("HPS v1")


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("model.safetensors", b"<html>log in</html>", "web page"),
        ("model.safetensors", b"", "empty file"),
        ("config.json", b"[" * 100_000, "nested too deeply"),
        ("config.json", b"[]", "could not be loaded"),
        ("model.safetensors", None, "could not be loaded"),
    ],
)
def test_a_damaged_folder_is_told(pickscore, tmp_path, file, content, words):
    shutil.copytree(pickscore, tmp_path / "p")
    (tmp_path / "p" / file).unlink()
    if content is not None:
        (tmp_path / "p" / file).write_bytes(content)
    with pytest.raises(Problem, match=words):
        other_scores.load_scorer(f"PickScore={tmp_path / 'p'}", "cpu")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda name, value: value * float("nan"), "not finite"),
        (
            lambda name, value: None if "visual_projection" in name else value,
            "1 tensors are missing",
        ),
        (lambda name, value: (value * 9).clamp(-9, 9).char(), "is quantized"),
    ],
)
def test_weights_that_would_give_made_up_scores_are_refused(pickscore, tmp_path, change, words):
    """transformers itself fills in random numbers for what a file lacks."""
    shutil.copytree(pickscore, tmp_path / "p")
    file = tmp_path / "p" / "model.safetensors"
    changed = {name: change(name, value) for name, value in load_file(file).items()}
    kept = {name: value for name, value in changed.items() if value is not None}
    save_file(kept, file, {"format": "pt"})
    with pytest.raises(Problem, match=words):
        other_scores.load_scorer(f"PickScore={tmp_path / 'p'}", "cpu")


def test_a_folder_without_a_vocabulary_is_refused(pickscore, tmp_path):
    """If it failed, every prompt would be the same prompt."""
    shutil.copytree(pickscore, tmp_path / "copy")
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (tmp_path / "copy" / name).unlink(missing_ok=True)
    with pytest.raises(Problem, match="tokenizer without a vocabulary"):
        other_scores.load_scorer(f"PickScore={tmp_path / 'copy'}", "cpu")


@pytest.mark.parametrize("error", [LocalEntryNotFoundError, HTTPError])
def test_without_network_the_message_names_file_and_repository(monkeypatch, error):
    def unreachable(repository, file):
        raise error("no route to host")

    monkeypatch.setattr(other_scores, "hf_hub_download", unreachable)
    with pytest.raises(Problem, match=r"HPS_v2.1_compressed.pt of xswu/HPSv2") as problem:
        other_scores.load_scorer("HPS v2.1")
    assert "no route to host" in str(problem.value)
    assert "HPS v2.1=data/HPS_v2.1_compressed.pt" in str(problem.value)


@pytest.mark.parametrize("name", ["HPS v1", "HPS v2", "HPS v2.1", "CLIP score"])
def test_a_file_of_one_s_own_is_taken_and_nothing_is_fetched(monkeypatch, tmp_path, name):
    monkeypatch.setattr(other_scores, "hf_hub_download", lambda *_: 1 / 0)
    monkeypatch.setattr("open_clip.factory.download_pretrained", lambda *_, **__: 1 / 0)
    with pytest.raises(Problem, match="no weights mine.pt"):
        other_scores.load_scorer(f"{name}={tmp_path / 'mine.pt'}", "cpu")


def test_a_folder_that_is_no_pickscore_says_so(tmp_path):
    with pytest.raises(Problem, match="transformers CLIPModel"):
        other_scores.load_scorer(f"PickScore={tmp_path}", "cpu")


def test_the_table_of_scores_in_the_documents_is_the_code_s():
    text = (root() / "docs" / "scorers.md").read_text(encoding="utf-8")
    for name, known in other_scores.SCORES.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
        assert all(entry in row for entry in asdict(known).values())


VIT_H_14 = """
import resource, sys
import numpy as np, open_clip, torch
from PIL import Image
from alignsd.reward.hps import score
from alignsd.reward.other_scores import load_scorer
# Every value is overwritten below, and drawing the values takes a minute.
for name in ("normal_", "trunc_normal_", "kaiming_uniform_", "xavier_uniform_", "uniform_"):
    setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)
torch.randn, randn = torch.empty, torch.randn
block = 0.02 * randn(1_000_003, generator=torch.Generator().manual_seed(0)).repeat(60)
reference, start = open_clip.create_model("ViT-H-14", pretrained=None).eval(), 0
# Each tensor takes its numbers from the block, from where the tensor before ended.
for name, value in reference.state_dict().items():
    numbers = block[start:start + value.numel()].view(value.shape)
    is_scale = ".ln_" in name and name.endswith("weight")
    value.copy_((numbers + 1 if is_scale else numbers).half())  # half precision, as released
    start = (start + value.numel()) % 1_000_003
halves = {key: value.half() for key, value in reference.state_dict().items()}
torch.save({"state_dict": halves}, sys.argv[1])
image = np.random.default_rng(0).integers(256, size=(224, 224, 3), dtype=np.uint8)
with torch.no_grad():
    visual = reference.visual
    pixels = open_clip.image_transform(
        224, is_train=False, mean=visual.image_mean, std=visual.image_std)
    encoded = reference.encode_image(pixels(Image.fromarray(image))[None], normalize=True)
    text = reference.encode_text(open_clip.get_tokenizer("ViT-H-14")(["a cat"]), normalize=True)
expected = float(100 * (encoded * text).sum())
del reference, visual, block, numbers, value, halves
found = score(load_scorer(f"HPS v2.1={sys.argv[1]}", "cpu"), [image], ["a cat"])[0]
print(expected, found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def test_hps_v2_1_of_full_size_scores_as_open_clip_s_own_encode(full_size_weights):
    command = [sys.executable, "-c", VIT_H_14, str(full_size_weights)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    expected, found, gigabytes = map(float, out.stdout.split())
    assert found == pytest.approx(expected, abs=1e-3) and abs(expected) > 0.1
    assert gigabytes < 7
