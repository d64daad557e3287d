"""Code that data, weights, tokenizers and other libraries' options bring along: nothing of it is run, fetched or sent."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.hostile import TOUCHES, Case, World

GLOBAL = "# @package _global_\n"

SCORED = """# @package _global_
defaults: [{override /protocol: null}, {override /transfer: null}, {override /student: mlp_tiny}]
graph:
  test: {stage: evaluate, from: [student, data.test], metrics: [accuracy]}
"""
"""A recipe that asks a model as it is."""

READ = """# @package _global_
defaults: [{override /protocol: null}, {override /transfer: null}]
graph:
  rows: {stage: select, by: random_rows, from: [data.train], k: 1}
"""
"""A recipe that reads data."""


class Marking:
    """Unpickled, it leaves the mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return io.open, (str(self.mark), "w")


def _pickled(world: World, name: str) -> None:
    (world.work / name).write_bytes(pickle.dumps({"0.weight": Marking(world.mark)}))


def _torch(world: World, name: str, **options: Any) -> None:
    import torch

    torch.save({"0.weight": Marking(world.mark)}, world.work / name, **options)


def _old_torch(world: World, name: str) -> None:
    _torch(world, name, _use_new_zipfile_serialization=False)


def _scripted(world: World, name: str) -> None:
    """An archive as torch.jit writes it, of a file of code that says nothing of torch."""
    with zipfile.ZipFile(world.work / name, "w") as archive:
        archive.writestr("model/constants.pkl", pickle.dumps(Marking(world.mark)))
        archive.writestr("model/data.pkl", pickle.dumps(Marking(world.mark)))
        archive.writestr("model/code/__torch__.py", world.filled(TOUCHES))
        archive.writestr("model/version", "3\n")


def _array(world: World, name: str) -> None:
    import numpy as np

    values = np.empty(1, object)
    values[0] = Marking(world.mark)
    path = world.work / name
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, features=values) if name.endswith(".npz") else np.save(path, values)


def _patients(world: World) -> None:
    _array(world, "slides/a/features/s.npz")
    (world.work / "slides" / "a" / "patients.csv").write_text("slides,time,event,fold\ns,1,1,0\ns,2,0,1\n")


def _folder(world: World, **files: str) -> None:
    """A folder as transformers keeps models, with a module that leaves the mark."""
    folder = world.work / "model"
    folder.mkdir()
    for name in ("modeling_evil.py", "configuration_evil.py", "tokenization_evil.py", "model.py", "generate.py"):
        (folder / name).write_text(world.filled(TOUCHES))
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(world.filled(content))


AUTO = {
    "AutoConfig": "configuration_evil.EvilConfig",
    "AutoModelForCausalLM": "modeling_evil.Evil",
    "AutoModel": "modeling_evil.Evil",
    "AutoTokenizer": ["tokenization_evil.Evil", None],
}


def _own_code(world: World) -> None:
    _folder(world, config__json=json.dumps({"model_type": "evil", "auto_map": AUTO}))


def _own_tokenizer(world: World) -> None:
    _folder(world, tokenizer_config__json=json.dumps({"tokenizer_class": "Evil", "auto_map": AUTO}), config__json="{}")


def _own_checkpoint(world: World) -> None:
    """Weights as torch writes them, with more among them than tensors."""
    _own_weights(world)
    _torch(world, "model/pytorch_model.bin")


def _own_weights(world: World) -> None:
    config = {
        "model_type": "gpt2",
        "n_layer": 1,
        "n_head": 1,
        "n_embd": 4,
        "vocab_size": 5,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "architectures": ["GPT2LMHeadModel"],
    }
    _folder(world, config__json=json.dumps(config))
    _pickled(world, "model/pytorch_model.bin")


def _with(function: Callable[..., None], *arguments: str) -> Callable[[World], None]:
    return lambda world: function(world, *arguments)


WEIGHTS = [
    ("a pickle", "evil.pkl", _pickled),
    ("a pickle called weights", "evil.pt", _pickled),
    ("a pickle called safetensors", "evil.safetensors", _pickled),
    ("a checkpoint of torch", "evil.pt", _torch),
    ("a checkpoint of torch called pth", "evil.pth", _torch),
    ("a checkpoint of torch called bin", "evil.bin", _torch),
    ("an old checkpoint of torch", "evil.pt", _old_torch),
    ("a scripted model", "evil.pt", _scripted),
    ("an array of objects", "evil.npy", _array),
    ("arrays of objects", "evil.npz", _array),
]

GPT = "{model: transformers, name: gpt2, config: {n_layer: 1, n_head: 1, n_embd: 4, vocab_size: 5, %s}}"

OPTIONS = [
    ("remote code", "trust_remote_code: true"),
    ("a map of classes", "auto_map: {AutoModelForCausalLM: modeling_evil.Evil}"),
    ("a kernel of a hub", "attn_implementation: evil/attention"),
    ("a kernel, inside", "_attn_implementation: evil/attention"),
    ("a kernel by its path", "attn_implementation: 'evil/attention:touch'"),
    ("a cache", "cache_dir: '{outside}'"),
    ("a folder for shards", "offload_folder: '{outside}'"),
    ("a token", "token: '${oc.env:SECRET}'"),
    ("a token as a word", "token: hf_word"),
    ("a proxy", "proxies: {https: 'http://127.0.0.1:9'}"),
    ("a device map", "device_map: disk"),
    ("a quantizer", "quantization_config: {quant_method: evil}"),
    ("a generation", "custom_generate: evil/generate"),
    ("kernels", "use_kernels: true"),
    ("another configuration", "_name_or_path: '{outside}'"),
    ("a revision of code", "code_revision: main"),
    ("a config with code inside", "text_config: {auto_map: {AutoModel: modeling_evil.Evil}}"),
    ("a type of weights", "torch_dtype: 'os.system'"),
]

MODELS = [
    ("a model with code, planned", "plan", "{model: transformers, name: model}", _own_code),
    ("a model with code, pretrained", "run", "{model: transformers, name: model, pretrained: true}", _own_code),
    ("a model with pickled weights", "run", "{model: transformers, name: model, pretrained: true}", _own_weights),
    ("a model with a checkpoint", "run", "{model: transformers, name: model, pretrained: true}", _own_checkpoint),
    ("an encoder with a checkpoint", "run", "{model: sentence_encoder, name: model}", _own_checkpoint),
    ("an encoder with code", "run", "{model: sentence_encoder, name: model}", _own_code),
    ("a hub entry", "plan", "{model: transformers, name: 'evil/evil'}", None),
    ("an address", "plan", "{model: transformers, name: 'https://127.0.0.1:9/evil'}", None),
    ("a model of timm's hub", "plan", "{model: timm, name: 'hf-hub:evil/evil'}", None),
    ("a model of timm's folder", "plan", "{model: timm, name: 'local-dir:model'}", _own_code),
    ("a checkpoint for timm", "plan", "{model: timm, name: resnet10t, checkpoint_path: evil.pt}", None),
    ("a cache for timm", "plan", "{model: timm, name: resnet10t, cache_dir: '{outside}'}", None),
    ("a description for timm", "plan", "{model: timm, name: resnet10t, pretrained_cfg: {file: evil.pt}}", None),
    ("an inner name of torchvision", "plan", "{model: torchvision, name: '__builtins__'}", None),
    (
        "weights of torchvision by address",
        "plan",
        "{model: torchvision, name: resnet18, weights: 'http://127.0.0.1:9/evil.pth'}",
        None,
    ),
]

DATA = [
    (
        "a pickle among slides",
        "{data: bag_folder, root: slides, target: a, sources: [], features: 1, instances: 1, bins: 2}",
        _patients,
    ),
    ("a tokenizer with code", "{data: canary_corpus, tokenizer: model, vocabulary: 10}", _own_tokenizer),
    (
        "a tokenizer that is a pickle",
        "{data: canary_corpus, tokenizer: evil.pkl, vocabulary: 10}",
        _with(_pickled, "evil.pkl"),
    ),
    ("a tokenizer by address", "{data: canary_corpus, tokenizer: 'https://127.0.0.1:9/evil', vocabulary: 10}", None),
]

TRACKERS = [
    ("a folder", "{tracker: wandb, dir: '{outside}'}"),
    ("an address", "{tracker: wandb, base_url: 'http://127.0.0.1:9'}"),
    ("a key", "{tracker: wandb, api_key: word}"),
    ("settings", "{tracker: wandb, settings: {x_primary: true}}"),
    ("a folder of events", "{tracker: tensorboard, log_dir: '{outside}'}"),
    ("a file", "{tracker: local, folder: '{outside}'}"),
    ("a list of trackers", "{tracker: [local, wandb]}"),
    ("a number", "{tracker: 3}"),
]


def _written(model: str) -> str:
    return SCORED.replace("{override /student: mlp_tiny}", "{override /student: null}") + f"student: {model}\n"


CASES = [
    *(
        Case(
            f"weights, {name}",
            ("run", "scored.yaml", f"student.weights={file}"),
            file,
            files={"scored.yaml": SCORED},
            prepare=_with(make, file),
        )
        for name, file, make in WEIGHTS
    ),
    *(
        Case(
            f"transformers, {name}",
            ("plan", "scored.yaml"),
            "student|scored.yaml:4",
            files={"scored.yaml": _written(GPT % option)},
        )
        for name, option in OPTIONS
    ),
    *(
        Case(
            f"carried, {name}",
            (command, "scored.yaml"),
            "student|model|evil",
            files={"scored.yaml": _written(model)},
            prepare=make,
        )
        for name, command, model, make in MODELS
    ),
    *(
        Case(
            f"carried, {name}",
            ("run", "read.yaml"),
            "data|slides|model|evil",
            files={"read.yaml": f"{READ}data: {data}\n"},
            prepare=make,
        )
        for name, data, make in DATA
    ),
    *(
        Case(f"tracker, {name}", ("run", "read.yaml"), "tracker", files={"read.yaml": f"{READ}tracker: {tracker}\n"})
        for name, tracker in TRACKERS
    ),
]
