"""What every loss must do: finite values, right gradients, zero where student and teacher agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._pytree import tree_leaves

from kdrun.registry import catalog

LABELS = torch.tensor([0, 2, 1, 2])


@dataclass(frozen=True)
class Case:
    """A loss ``function(student, teacher)`` on tensors of one shape; ``zero`` says whether it is 0 at equality."""

    name: str
    function: Callable[[Tensor, Tensor], Tensor]
    shape: tuple[int, ...]
    zero: bool = True
    kinks: bool = False


def part(name: str, **options) -> Callable[..., Tensor]:
    function = catalog().get("op", name).load()
    return lambda *inputs: function(*inputs, **options)


def labelled(name: str, **options) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda s, t: part(name, **options)(s, t, LABELS)


ROWS, MAPS = (4, 3), (3, 2, 5, 5)

CASES = [
    Case("kl_divergence", part("kl_divergence", temperature=2.0), ROWS),
    Case("kl_divergence reverse", part("kl_divergence", direction="reverse", reduction="element_mean"), ROWS),
    Case("js_divergence", part("js_divergence", teacher_share=0.3), ROWS),
    Case("jensen_shannon_consistency", part("jensen_shannon_consistency"), ROWS),
    Case("binary_kl_divergence", part("binary_kl_divergence", temperature=2.0), ROWS),
    Case("binary_cross_entropy", lambda s, t: part("binary_cross_entropy")(s, t.sigmoid()), ROWS, zero=False),
    Case("kd_loss", part("kd_loss", temperature=3.0), ROWS),
    Case("kd_loss labels", labelled("kd_loss", temperature=3.0), ROWS, zero=False),
    Case("decoupled_kd", labelled("decoupled_kd"), ROWS),
    Case("logit_standardized_kd", part("logit_standardized_kd"), ROWS),
    Case("feature_mse", part("feature_mse", reduction="batch_mean"), MAPS),
    Case("l1_feature_loss", part("l1_feature_loss"), ROWS, kinks=True),
    Case("attention_transfer code", part("attention_transfer"), MAPS),
    Case("attention_transfer paper", part("attention_transfer", mode="paper"), MAPS),
    Case("factor_transfer_loss", part("factor_transfer_loss"), MAPS, kinks=True),
    Case("activation_boundary_loss", part("activation_boundary_loss"), ROWS, zero=False, kinks=True),
    Case("hierarchical_context_loss", part("hierarchical_context_loss"), MAPS),
    Case("heteroscedastic_l2", lambda s, t: part("heteroscedastic_l2")(s, t, 0.3 * s), ROWS, zero=False),
    Case("gaussian_nll", lambda s, t: part("gaussian_nll")(s, t.abs() + 0.5, t), ROWS, zero=False),
    Case(
        "norm_direction_loss",
        lambda s, t: part("norm_direction_loss")(s, t, torch.eye(3).to(s), LABELS),
        ROWS,
        zero=False,
    ),
    Case("cosine_feature_loss", part("cosine_feature_loss"), MAPS),
    Case("log_power_feature_loss", lambda s, t: part("log_power_feature_loss")(s, t, s, t), ROWS, zero=False),
    Case("relational_distance_loss", part("relational_distance_loss"), ROWS),
    Case("relational_angle_loss", part("relational_angle_loss"), ROWS),
    Case("similarity_preserving_loss l1", part("similarity_preserving_loss"), MAPS, kinks=True),
    Case("similarity_preserving_loss l2", part("similarity_preserving_loss", row_norm="l2"), MAPS),
    Case("channel_similarity_loss", part("channel_similarity_loss"), MAPS),
    Case("pairwise_probability_transfer", part("pairwise_probability_transfer"), ROWS),
    Case("correlation_congruence_loss", part("correlation_congruence_loss"), ROWS),
    Case("affinity_loss", part("affinity_loss"), (2, 2, 3, 3)),
    Case("flow_matrix_loss", lambda s, t: part("flow_matrix_loss")(s, 2 * s, t, 2 * t), MAPS),
    Case(
        "dense_flow_loss",
        lambda s, t: part("dense_flow_loss")(
            *(part("dense_flow_matrices", pool_exponents=[1])(m, m[..., :3, :3]) for m in (s, t))
        ),
        MAPS,
    ),
    Case("pearson_relation_loss", part("pearson_relation_loss"), ROWS),
    Case("channel_correlation_loss", part("channel_correlation_loss"), (2, 4, 3, 3)),
    Case("spatial_correlation_loss", part("spatial_correlation_loss"), MAPS),
    Case("direction_covariance_loss", part("direction_covariance_loss"), ROWS),
    Case("info_nce", part("info_nce", symmetric=True), ROWS, zero=False),
    Case("info_nce two views", part("info_nce", both_views=True), ROWS, zero=False),
    Case(
        "neighbourhood_kl",
        lambda s, t: part("neighbourhood_kl", temperature=1.0)(s @ s.T, t @ t.T, part("knn_indices", k=2)(t @ t.T)),
        ROWS,
    ),
    Case("inner_relation_kl", part("inner_relation_kl", temperature=1.0), (2, 4, 3)),
    Case("probability_mse", part("probability_mse"), ROWS),
]


def pair(case: Case, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    student = torch.randn(case.shape, generator=generator, dtype=torch.float64).to(dtype)
    return student.requires_grad_(), torch.randn(case.shape, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_derivative_is_that_of_the_value(case: Case) -> None:
    student, teacher = pair(case)
    value = case.function(student, teacher)
    assert value.dim() == 0
    assert abs(value.item()) > 1e-6
    assert gradcheck(lambda s: case.function(s, teacher), (student,))


@pytest.mark.parametrize("case", [c for c in CASES if not c.kinks], ids=lambda c: c.name)
def test_second_derivative_is_there_for_bilevel_training(case: Case) -> None:
    student, teacher = pair(case)
    assert gradgradcheck(lambda s: case.function(s, teacher), (student,), atol=1e-4)


@pytest.mark.parametrize("case", [c for c in CASES if c.zero], ids=lambda c: c.name)
def test_zero_with_a_finite_gradient_where_student_and_teacher_agree(case: Case) -> None:
    student, _ = pair(case)
    value = case.function(student, student.detach().clone())
    assert value.item() == pytest.approx(0.0, abs=1e-9)
    value.backward()
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("fill", ["zero student", "large"])
def test_finite_on_dead_and_on_large_features(case: Case, fill: str) -> None:
    """A student whose ReLUs all died gives zeros; early training gives large values. Single precision."""
    student, teacher = pair(case, torch.float32)
    start = (torch.zeros_like(student) if fill == "zero student" else 50 * student.detach()).requires_grad_()
    value = case.function(start, teacher if fill == "zero student" else 50 * teacher)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(start.grad).all()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_shapes_are_found_without_values(case: Case) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        student, teacher = torch.empty(case.shape, requires_grad=True), torch.empty(case.shape)
        value = case.function(student, teacher)
        assert value.shape == ()
        value.backward()
        assert student.grad.shape == case.shape


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_function_transforms_give_the_same_gradient(case: Case) -> None:
    student, teacher = pair(case)
    case.function(student, teacher).backward()
    torch.testing.assert_close(torch.func.grad(case.function)(student.detach(), teacher), student.grad)


def test_every_op_says_what_it_does_and_has_valid_defaults() -> None:
    for entry in catalog():
        if entry.kind != "op" or not entry.module.startswith("kdrun.ops"):
            continue
        assert entry.summary.endswith((".", ")", "``", ":")) or "." in entry.doc, entry.name
        defaults = {n: p.default for n, p in entry.parameters.items() if repr(p.default) != "MISSING"}
        for name, value in defaults.items():
            entry.parameters[name].validate(value, key=entry.name)


STATED = {
    "best_mixture": lambda: ((torch.rand(5, 3), torch.rand(5)), {}),
    "class_aware_cost": lambda: (
        (torch.rand(4, 2), torch.tensor([0, 0, 1, 1]), torch.rand(3, 2), torch.tensor([0, 1, 1])),
        {"label_distance": "means"},
    ),
    "one_vs_all_pseudo_label": lambda: ((torch.rand(8, 2), torch.rand(8, 3).softmax(1), torch.tensor(1.0)), {}),
}


@pytest.mark.parametrize("name", STATED)
def test_what_is_said_of_a_shape_is_what_the_op_gives(name: str) -> None:
    """For ops that read values, and so cannot run on fake tensors."""
    inputs, options = STATED[name]()
    found = catalog().get("op", name).load()(*inputs, **options)
    mode = FakeTensorMode()
    with mode:
        planned = catalog().hook("shape_of", f"op {name}").load()(*map(mode.from_tensor, inputs), **options)
    for fake, real in zip(tree_leaves(planned), tree_leaves(found), strict=True):
        assert (fake.shape, fake.dtype) == (real.shape, real.dtype)
