"""What parts say of their results on fake tensors is what they give on real ones."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import pytest
import torch

from kdrun.data.canaries import CanaryCorpus
from kdrun.data.dataset import DataInfo
from kdrun.registry import catalog
from kdrun.registry.kinds import BY_KINDS
from kdrun.runtime.fakes import FakeContext, fake, known, on_fakes
from support.contexts import stage_context
from support.data import dataset
from support.models import make
from support.scenes import split
from support.tensors import generator
from support.text import TINY

MARKED = {target: hook for (mark, target), hook in catalog()._hooks.items() if mark == "shape_of"}
BY_PARTS = {f"{part.kind} {part.name}": part for part in catalog() if part.kind in BY_KINDS}
STATED = sorted(set(MARKED) & set(BY_PARTS))

IMAGES = dataset(4, image=torch.randn(24, 3, 8, 8, generator=generator()), label=torch.arange(24) % 4)
CLASSIFIER = make("cnn", num_classes=4, image_size=8)
TASKED = dataset(4, image=IMAGES.rows()["image"], label=torch.arange(24) % 4, task=torch.full((24,), 2))
SCENES = split(4)
ESTIMATES = torch.rand(4, 5, 3, generator=generator())
WORDS = dataset(11, tokens=torch.randint(1, 11, (4, 5), generator=generator()), target=torch.ones(4, 5).long())
ANSWERED = dataset(11, tokens=WORDS.rows()["tokens"], answer=torch.ones(4, 5).long())
CORPUS = CanaryCorpus(**TINY).load()["train"].select(torch.arange(3))
TAGS = torch.tensor([[1, 2, 0, 0, 0, -100], [0, 0, 0, 3, 0, 0]])
TAGGED = dataset(5, tags=torch.where(TAGS < 0, -100, 0), pseudo=TAGS)
LETTERS = dataset(text=torch.tensor([[97, 98, -1], [98, -1, -1], [-1, -1, -1]]))
NAMED = dataset(2, label=torch.arange(6) % 2)
NAMED.info = replace(NAMED.info, class_names=("cat", "sea_lion"))
NOISE = dataset(noise=torch.randn(5, 3, 8, 8, generator=generator()))
WRITER = {"vocabulary": 11, "dim": 16, "depth": 2, "heads": 2, "max_length": 16}


def writer() -> torch.nn.Module:
    return make("causal_transformer", **WRITER)


def masked() -> torch.nn.Module:
    inside = {"model": "cnn", "num_classes": 4, "in_channels": 3, "image_size": 8}
    return make("supermask_network", base=inside, tasks=3)


def denoiser() -> torch.nn.Module:
    return make("residual_denoiser", image_size=8)


def generating() -> torch.nn.Module:
    return make("conditional_generator", latent=4, width=4, classes=3)


PLACED = dataset(3, entity=torch.arange(12), label=torch.arange(12) % 3)
RELEVANT = (torch.rand(6, 9, generator=generator()) > 0.5).float()

CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("solve logistic_probe", [torch.randn(12, 4, generator=generator()), PLACED, PLACED], {}),
    ("solve interpolation_weight", [torch.rand(6, 9, generator=generator()), RELEVANT, RELEVANT], {"folds": 2}),
    ("select of_classes", [IMAGES], {"classes": [3, 1], "renumber": True}),
    ("select of_classes", [IMAGES], {"classes": 3, "renumber": True}),
    ("select adding_top_k", [torch.rand(24), IMAGES, IMAGES.select(torch.arange(3))], {"k": 2}),
    ("select adding_k_centers", [torch.rand(24, 4), IMAGES, IMAGES.select(torch.arange(3))], {"k": 2}),
    ("select top_classes", [torch.rand(4), IMAGES], {"share": 0.5}),
    ("select middle_of_classes", [torch.rand(24), IMAGES], {"share": 0.5}),
    ("reduce per_sample_gradient_norm", [CLASSIFIER, IMAGES], {}),
    ("reduce rows_outside", [IMAGES, IMAGES.select(torch.arange(3))], {}),
    ("solve gm_phd", [SCENES], {"targets": 5}),
    ("solve pmb", [SCENES], {}),
    ("solve existence_threshold", [ESTIMATES, SCENES], {}),
    ("reduce entry_map", [dataset(same=torch.tensor([3, -1, 0]), first=torch.tensor([3, 4, 0]))], {}),
    ("reduce entry_map", [dataset(same=torch.tensor([3, -1, 0]), first=torch.tensor([3, 4, 0]))], {"take": "first"}),
    ("reduce nearest_entries", [LETTERS, LETTERS], {}),
    ("reduce diagonal_fisher", [writer(), WORDS], {}),
    ("reduce diagonal_fisher", [writer(), WORDS], {"of": "linear"}),
    ("reduce integrated_gradient_neurons", [writer(), ANSWERED], {"modules": ["feed.2"], "intervals": 2}),
    ("initialize without_neurons", [writer(), {"blocks.1.feed.2": torch.rand(4, 64)}], {"count": 3}),
    ("reduce changed_parameters", [writer(), writer()], {}),
    ("reduce cluster_number_by_silhouette", [CLASSIFIER, IMAGES], {"candidates": [0.5, 1.0]}),
    ("label one_vs_all_pseudo_label", [CLASSIFIER, IMAGES, torch.tensor(1.0)], {"column": "found"}),
    ("label privacy_spans", [CORPUS], {}),
    ("label privacy_spans", [CORPUS], {"detector": "oracle", "column": "found"}),
    ("label privacy_spans", [WORDS, writer()], {"detector": "learned"}),
    ("label scattered_mentions", [TAGGED], {}),
    ("corrupt added_perturbation", [IMAGES, torch.zeros(24, 3, 8, 8)], {"share": 0.5}),
    ("corrupt added_perturbation", [IMAGES, torch.zeros(4, 3, 8, 8)], {"of": "label"}),
    ("label class_prompts", [NAMED], {"tokenizer": "characters", "max_tokens": 9}),
    ("label model_answer", [CLASSIFIER, IMAGES], {"soft": True, "column": "said"}),
    ("label top_answers", [CLASSIFIER, IMAGES], {"k": 2, "temperature": 3.0, "column": "said"}),
    ("label sampled_answers", [CLASSIFIER, IMAGES], {"k": 2, "temperature": 3.0, "column": "said"}),
    ("initialize supermask_transfer", [masked(), TASKED], {}),
    ("reduce supermask_ownership", [masked(), TASKED], {}),
    ("reduce supermask_overlap", [masked(), TASKED], {}),
    ("label answer_lines", [ANSWERED], {"column": "answer", "written": None}),
    ("generate decoding", [writer(), WORDS], {"max_tokens": 3}),
    ("generate fused_decoding", [writer(), writer(), [writer(), writer()], WORDS], {"max_tokens": 3}),
    ("generate fused_decoding", [writer(), writer(), [writer()], WORDS], {"max_tokens": 2, "weights": [0.5]}),
    ("generate class_conditional", [generating()], {"classes": 3, "per_class": 2, "latent": 4, "batch_size": 4}),
    ("generate ddim", [denoiser(), NOISE], {"steps": 5}),
    ("generate ddim", [denoiser(), NOISE], {"steps": 5, "record": [0.98, 0.5, 0.12, 0.1], "column": "found"}),
]


def promised(target: str, inputs: list[Any], parameters: dict[str, Any]) -> Any:
    shape = MARKED[target].load()
    given: dict[str, Any] = {"context": FakeContext("stage", "graph.stage", {}), "generator": torch.Generator()}
    beside = {name: value for name, value in given.items() if name in inspect.signature(shape).parameters}
    with on_fakes():
        return known(shape(*fake([known(i) for i in inputs], {}), **parameters, **beside))


def given(target: str, inputs: list[Any], parameters: dict[str, Any]) -> Any:
    part = BY_PARTS[target]
    beside = {"context": stage_context(), "generator": generator()}
    return known(part.load()(*inputs, **parameters, **{name: beside[name] for name in part.injected}))


@pytest.mark.parametrize(("target", "inputs", "parameters"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_a_shape_is_that_of_what_the_part_gives(target, inputs, parameters) -> None:
    said, found = promised(target, inputs, parameters), given(target, inputs, parameters)
    if target.startswith("select "):  # which rows are left is known only when it has run
        said, found = replace(said, size=None), replace(found, size=None)
    if isinstance(found, DataInfo):
        assert list(said.columns) == list(found.columns)
    assert said == found


def test_every_part_that_states_its_shape_is_held_to_it() -> None:
    assert {target for target, _, _ in CASES} == set(STATED)


def test_every_shape_names_a_part() -> None:
    parts = {f"{part.kind} {part.name}" for part in catalog()}
    assert set(MARKED) <= parts


@pytest.mark.parametrize("target", STATED)
def test_a_shape_takes_what_its_part_takes(target) -> None:
    part, own = BY_PARTS[target], inspect.signature(MARKED[target].load()).parameters
    theirs = inspect.signature(part.load()).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in own.values())
    named = {name: p for name, p in own.items() if p.kind is not p.VAR_KEYWORD}
    assert [p.name for p in part.inputs] == [n for n, p in named.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert open_ended or set(part.parameters) <= set(named)
    for name, parameter in named.items():
        assert (parameter.default, parameter.kind) == (theirs[name].default, theirs[name].kind), name


def test_no_part_asks_whether_a_tensor_is_fake() -> None:
    for part in BY_PARTS.values():
        with open(part.file, encoding="utf-8") as file:
            assert "FakeTensor" not in file.read(), part.file


def test_a_model_without_the_tap_is_refused_before_anything_runs() -> None:
    from kdrun.errors import InputError

    with pytest.raises(InputError, match="nothing_such"):
        promised("reduce cluster_number_by_silhouette", [CLASSIFIER, IMAGES], {"tap": "nothing_such"})
