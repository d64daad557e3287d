"""A teacher's likeliest classes as columns, and a student that learns from them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdrun.errors import InputError
from kdrun.ops.kept_answers import sparse_cross_entropy
from kdrun.parts.kept_answers import sampled_answers, top_answers
from support.contexts import stage_context
from support.data import dataset
from support.recipes import write_recipe


def test_what_is_kept_and_what_is_lost_is_all_that_was_said() -> None:
    teacher, data = nn.Linear(3, 5).eval(), dataset(5, image=torch.randn(7, 3), label=torch.arange(7) % 5)
    rows = top_answers(teacher, data, k=2, temperature=3.0, context=stage_context()).rows()
    said = (teacher(data.rows()["image"]) / 3).softmax(1).detach()
    torch.testing.assert_close(rows["answer_shares"], said.gather(1, rows["answer_classes"]))
    torch.testing.assert_close(rows["answer_shares"].sum(1) + rows["answer_lost"], torch.ones(7))
    assert torch.equal(rows["answer_classes"][:, 0], said.argmax(1))
    with pytest.raises(InputError, match="tells 5 classes apart, of which 6 cannot be kept"):
        top_answers(teacher, data, k=6, context=stage_context())


OFFLINE = """
graph:
  fit: {stage: train, from: {model: teacher, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1}
  answers: {stage: label, by: top_answers, from: [fit, data.train], k: 3, temperature: 2.0}
  fit_student:
    stage: train
    from: {student: student, data: answers, optimizer: optimizer}
    step:
      nodes:
        s:  {call: student, from: [batch.image]}
        kd: {op: top_k_kl_divergence, from: [s.logits, batch.answer_classes, batch.answer_shares], temperature: 2.0}
      minimize: {kd: 1.0}
      train: [student]
      optimizer: optimizer
    epochs: 1
  test: {stage: evaluate, from: [fit_student, data.test], metrics: [accuracy]}
"""


def test_a_student_learns_from_answers_that_were_kept(kdrun, tmp_path) -> None:
    recipe = write_recipe(tmp_path, OFFLINE)
    planned = kdrun("plan", recipe)
    assert planned.code == 0, planned.err
    answer = kdrun("run", recipe, "data.limit=256")
    assert answer.code == 0, answer.err
    assert "answers: 3 of 10 classes kept, mean probability lost 0." in answer.err


@pytest.mark.parametrize("flatter", [1.0, 1.5])
def test_sampled_answers_are_on_average_what_was_said_and_so_is_the_gradient(flatter) -> None:
    teacher, row = nn.Linear(3, 6).eval(), torch.randn(1, 3)
    said = (teacher(row) / 2).softmax(1).detach()
    many = dataset(6, image=row.expand(20000, 3), label=torch.zeros(20000, dtype=torch.int64))
    drawn = torch.Generator().manual_seed(0)
    kept = sampled_answers(
        teacher, many, k=3, temperature=2.0, flatter=flatter, context=stage_context(), generator=drawn
    )
    rows = kept.rows()
    mean = torch.zeros(20000, 6).scatter_add_(1, rows["answer_classes"], rows["answer_shares"]).mean(0, keepdim=True)
    torch.testing.assert_close(mean, said, atol=0.01, rtol=0)
    student = torch.zeros(1, 6, requires_grad=True)
    sparse_cross_entropy(student.expand(20000, 6), rows["answer_classes"], rows["answer_shares"]).backward()
    torch.testing.assert_close(student.grad, torch.full((1, 6), 1 / 6) - said, atol=0.01, rtol=0)


def test_the_likeliest_classes_alone_are_biased() -> None:
    """What ``top_answers`` leaves out stays out, however often it is asked."""
    teacher, data = nn.Linear(3, 6).eval(), dataset(6, image=torch.randn(8, 3), label=torch.zeros(8, dtype=torch.int64))
    rows = top_answers(teacher, data, k=2, context=stage_context()).rows()
    assert (rows["answer_shares"].sum(1) < 1 - 1e-3).all()
