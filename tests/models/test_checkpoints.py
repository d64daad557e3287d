"""Weights from files: what others wrap around them, heads that do not fit, and what is said of it."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from kdrun.errors import InputError
from kdrun.models.building import build
from kdrun.models.checkpoints import check_weights, load_weights
from support.recipes import QUICK

SPEC = {"model": "cnn", "channels": [8, 16], "num_classes": 10, "in_channels": 1, "image_size": 8}


def network(seed: int = 0, **changes: object):
    return build({**SPEC, **changes}, seed=(seed, "weights"))


def same(one, other, names=None) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return all(torch.equal(a[name], b[name]) for name in (a if names is None else names))


def state_of(module, prefix: str = "") -> dict:
    return {prefix + name: value for name, value in module.state_dict().items()}


WRAPPED = {
    "plain": lambda m: state_of(m),
    "module.": lambda m: state_of(m, "module."),
    "_orig_mod.": lambda m: state_of(m, "_orig_mod."),
    "module._orig_mod.": lambda m: state_of(m, "module._orig_mod."),
    "state_dict": lambda m: {"state_dict": state_of(m), "epoch": 3},
    "model": lambda m: {"model": state_of(m), "optimizer": {"lr": 0.1}},
    "model_state_dict": lambda m: {"model_state_dict": state_of(m, "module.")},
    "model.": lambda m: {"state_dict": state_of(m, "model.")},
}


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_what_is_wrapped_around_weights_is_taken_off_and_said(tmp_path, wrapped) -> None:
    trained, fresh = network(1), network(2)
    path = tmp_path / "some.pt"
    torch.save(WRAPPED[wrapped](trained), path)
    check_weights(fresh, str(path))
    told = load_weights(fresh, str(path))
    assert same(trained, fresh)
    assert (wrapped == "plain") == (not told)
    assert wrapped == "plain" or wrapped in " ".join(told)


def test_a_wrapper_is_taken_off_in_safetensors_too(tmp_path) -> None:
    trained, fresh = network(1), network(2)
    save_file(state_of(trained, "module."), tmp_path / "some.safetensors")
    (told,) = load_weights(fresh, str(tmp_path / "some.safetensors"))
    assert "begin with 'module.', which is taken off" in told
    assert same(trained, fresh)


def test_a_home_folder_is_written_as_a_tilde(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    trained, fresh = network(1), network(2)
    save_file(state_of(trained), tmp_path / "some.safetensors")
    load_weights(fresh, "~/some.safetensors")
    assert same(trained, fresh)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_another_head_is_refused_with_what_to_write_and_left_out_when_that_is_written(tmp_path, ending) -> None:
    other, fresh, untouched = network(1, num_classes=7), network(2), network(2)
    path = str(tmp_path / f"some.{ending}")
    torch.save(state_of(other), path) if ending == "pt" else save_file(state_of(other), path)
    head = next(n for n, v in other.state_dict().items() if v.shape[:1] == (7,)).rpartition(".")[0]
    with pytest.raises(InputError, match=rf"\[7, 16\], expected \[10, 16\].*skip: \[{head}\]"):
        check_weights(fresh, path, key="student.weights")
    (told,) = load_weights(fresh, {"path": path, "skip": [head]})
    assert f"weights of {head} were left as they are drawn" in told
    heads = [n for n in fresh.state_dict() if n.startswith(head)]
    assert heads
    assert same(fresh, untouched, heads)
    assert same(fresh, other, [n for n in fresh.state_dict() if n not in heads])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"path": "x.pt", "skpi": []}, "did you mean 'skip'"),
        ({"skip": ["head"]}, "weights is a file, or"),
        (3, "weights is a file, or"),
        ({"path": "x.pt", "skip": "head"}, "skip is a list of names"),
    ],
)
def test_what_weights_may_be_is_said(content, says) -> None:
    with pytest.raises(InputError, match=says):
        load_weights(network(), content)


def test_a_module_to_skip_that_is_not_there_is_refused(tmp_path) -> None:
    save_file(state_of(network()), tmp_path / "some.safetensors")
    with pytest.raises(InputError, match="skip names 'haed'"):
        load_weights(network(), {"path": str(tmp_path / "some.safetensors"), "skip": ["haed"]}, key="student.weights")


def test_plan_finds_a_misfit_and_a_run_says_what_was_left_out(kdrun, tmp_path) -> None:
    words = ("kd", "transfer=none", *QUICK)
    kdrun("run", *words)
    (run,) = tmp_path.glob("runs/*/*")
    kdrun("export", str(run), "--output", "student.safetensors")
    wrong = kdrun("plan", "kd", "transfer=none", "student=mlp_tiny", "student.weights=student.safetensors", *QUICK)
    assert wrong.code == 2
    assert "checkpoint student.safetensors is of another architecture" in wrong.err
    assert "student.weights" in wrong.err
    partly = kdrun("run", *words, "student.weights={path: student.safetensors, skip: [head]}")
    assert partly.code == 0, partly.err
    assert "weights of head were left as they are drawn" in partly.err
