"""Divergences from the likeliest classes alone, against those from all of them."""

from __future__ import annotations

import itertools

import pytest
import torch

from kdrun.ops.divergences import kl_divergence
from kdrun.ops.kept_answers import sparse_cross_entropy, top_k_kl_divergence

TEMPERATURE = 2.0


def kept(teacher: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    shares, classes = (teacher / TEMPERATURE).softmax(1).topk(k, dim=1)
    return classes, shares


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    student, teacher = 3 * torch.randn(2, 16, 10, dtype=torch.float64)
    return student.requires_grad_(), teacher


@pytest.mark.parametrize("rest", ["bucket", "renormalize"])
def test_all_classes_kept_give_the_whole_divergence_and_its_gradient(rest) -> None:
    student, teacher = drawn()
    found = top_k_kl_divergence(
        student, *kept(teacher, 10), temperature=TEMPERATURE, squared_temperature=True, rest=rest
    )
    whole = kl_divergence(student, teacher, temperature=TEMPERATURE, squared_temperature=True)
    torch.testing.assert_close(found, whole)
    torch.testing.assert_close(*(torch.autograd.grad(value, student)[0] for value in (found, whole)))


GENERATOR = torch.Generator().manual_seed(0)


def test_the_bucket_bounds_the_whole_divergence_from_below_the_closer_the_more_is_kept() -> None:
    student, teacher = drawn()
    rows = [
        top_k_kl_divergence(student, *kept(teacher, k), temperature=TEMPERATURE, reduction="none") for k in range(1, 11)
    ]
    assert (rows[0] >= 0).all()
    assert all((more >= less - 1e-12).all() for less, more in itertools.pairwise(rows))
    torch.testing.assert_close(rows[-1], kl_divergence(student, teacher, temperature=TEMPERATURE, reduction="none"))


def test_it_is_zero_with_a_zero_gradient_where_student_and_teacher_agree() -> None:
    _, teacher = drawn()
    student = teacher.clone().requires_grad_()
    for rest in ("bucket", "renormalize"):
        value = top_k_kl_divergence(student, *kept(teacher, 3), temperature=TEMPERATURE, rest=rest)
        (gradient,) = torch.autograd.grad(value, student)
        torch.testing.assert_close(value, torch.zeros_like(value))
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))


def test_the_gradient_is_that_of_the_value() -> None:
    student, teacher = drawn()
    classes, shares = kept(teacher, 3)
    assert torch.autograd.gradcheck(lambda s: top_k_kl_divergence(s, classes, shares), (student,))


def test_a_certain_teacher_loses_nothing() -> None:
    student = torch.randn(1, 4, requires_grad=True)
    value = top_k_kl_divergence(student, torch.tensor([[1, 0]]), torch.tensor([[1.0, 0.0]]))
    value.backward()
    torch.testing.assert_close(value, torch.nn.functional.cross_entropy(student, torch.tensor([1])))
    assert torch.isfinite(student.grad).all()


def test_a_sparse_cross_entropy_over_all_classes_is_the_whole_one() -> None:
    student, teacher = torch.randn(6, 5, generator=GENERATOR), torch.randn(6, 5, generator=GENERATOR).softmax(1)
    classes = torch.arange(5).expand(6, 5)
    whole = -(teacher * (student / 2).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(sparse_cross_entropy(student, classes, teacher, temperature=2.0), whole)
    torch.testing.assert_close(
        sparse_cross_entropy(student, classes, teacher, temperature=2.0, squared_temperature=True), 4 * whole
    )
