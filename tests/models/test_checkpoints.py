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


def test_what_fits_is_taken_in_part_and_the_rest_is_told(tmp_path) -> None:
    old, fresh, untouched = network(1, num_classes=7), network(2), network(2)
    path = str(tmp_path / "some.pt")
    torch.save({"state_dict": {**state_of(old, "module.teacher."), "module.teacher.queue": torch.zeros(3)}}, path)
    head = [n for n, v in old.state_dict().items() if v.shape[:1] == (7,)]
    check_weights(fresh, {"path": path, "fit": "partial"})
    told = load_weights(fresh, {"path": path, "fit": "partial"})
    assert "begin with 'module.teacher.', which is taken off" in told[1]
    assert f"{len(fresh.state_dict()) - 2} of the model's {len(fresh.state_dict())} weights are taken" in told[2]
    assert f"{head[0]} is [7, 16], expected [10, 16]" in told[2]
    assert "it has 1 more: queue" in told[2]
    assert same(fresh, untouched, head)
    assert same(fresh, old, [n for n in fresh.state_dict() if n not in head])


def test_a_checkpoint_of_which_nothing_fits_is_refused_even_in_part(tmp_path) -> None:
    save_file({"other": torch.zeros(2)}, tmp_path / "some.safetensors")
    with pytest.raises(InputError, match="it has 1 more: other; no weight of it fits"):
        load_weights(network(), {"path": str(tmp_path / "some.safetensors"), "fit": "partial"})
    with pytest.raises(InputError, match="fit is whole or partial, got 'part' \\(did you mean 'partial'"):
        load_weights(network(), {"path": "x.pt", "fit": "part"})


def test_all_misfits_are_counted_and_the_first_ones_named(tmp_path) -> None:
    state = state_of(network())
    first = next(iter(state))
    kept = {first: state[first], **{f"extra.{i}": torch.zeros(1) for i in range(9)}}
    path = str(tmp_path / "some.safetensors")
    save_file(kept, path)
    with pytest.raises(InputError) as refused:
        check_weights(network(), path)
    said = str(refused.value)
    assert f"it lacks {len(state) - 1}: {', '.join(list(state)[1:6])}, … ({len(state) - 6} more)" in said
    assert "it has 9 more: extra.0, extra.1, extra.2, extra.3, extra.4, … (4 more)" in said
    assert "fit: partial} leaves out what does not fit" in said


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_another_precision_is_told_and_whole_numbers_are_no_weights(tmp_path, ending) -> None:
    trained, fresh = network(1), network(2)
    path = str(tmp_path / f"some.{ending}")
    write = torch.save if ending == "pt" else save_file
    halves = {n: v.bfloat16() if v.is_floating_point() else v for n, v in state_of(trained).items()}
    write(halves, path)
    check_weights(fresh, path)
    assert load_weights(fresh, path) == [f"checkpoint {path}: its weights are bfloat16, taken as float32"]
    assert {v.dtype for v in fresh.state_dict().values() if v.is_floating_point()} == {torch.float32}
    name = next(n for n, v in halves.items() if v.is_floating_point())
    write({**halves, name: halves[name].to(torch.int8)}, path)
    for function in (check_weights, load_weights):
        with pytest.raises(InputError, match=rf"{name} holds torch\.int\d+, expected torch.float32"):
            function(fresh, path)


def test_a_misfit_is_told_where_the_weights_are_said(kdrun, tmp_path) -> None:
    save_file({"other": torch.zeros(2)}, tmp_path / "some.safetensors")
    for role, words in {"student": ("transfer=none",), "teacher": ()}.items():
        refused = kdrun("plan", "kd", *words, f"{role}.weights=some.safetensors", *QUICK)
        assert f"command line ({role}.weights=some.safetensors): {role}.weights: checkpoint" in refused.err, refused.err
    (tmp_path / "own.yaml").write_text(
        "# @package _global_\ndefaults: [{override /protocol: null}, {override /transfer: null}]\n"
        "graph: {test: {stage: evaluate, from: [student, data.test], metrics: [accuracy]}}\n"
    )
    refused = kdrun("plan", "own.yaml", "student.weights=some.safetensors", *QUICK)
    assert "(student.weights=some.safetensors): student.weights: checkpoint" in refused.err
