"""Recipes written to a folder, and what they compose to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdrun.config.compose import Composer

__all__ = [
    "ADAPTED_TO_TEST",
    "ALONE",
    "BILEVEL",
    "CHAIN",
    "COMPUTED",
    "NO_TRANSFER",
    "QUICK",
    "TINY_STUDENT",
    "composed",
    "stranger",
    "write_recipe",
]

QUICK = ("epochs=1", "data.limit=128")

ALONE = "# @package _global_\ndefaults: [{override /protocol: null}, {override /transfer: null}]\n"
TINY_STUDENT = (
    "# @package _global_\n"
    "defaults: [{override /student: mlp_tiny}, {override /protocol: null}, {override /transfer: null}]\n"
)
NO_TRANSFER = "# @package _global_\ndefaults: [{override /transfer: distillation/none}]\n"

# A model that goes on without labels on some of the rows that it is judged by.
ADAPTED_TO_TEST = """
graph:
  fit: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1}
  asked: {stage: select, by: random_rows, from: [data.test], k: 32}
  adapt:
    stage: train
    from: {model: fit, data: asked, optimizer: optimizer}
    step:
      nodes: {m: {call: model, from: [batch.image]}, sure: {op: information_maximization, from: [m.logits]}}
      minimize: {sure: 1.0}
      train: [model]
      optimizer: optimizer
    epochs: 1
  test: {stage: evaluate, from: [adapt, data.test], metrics: [accuracy]}
"""

# Weights of a loss learned through virtual steps of the student.
BILEVEL = """
graph:
  fit_student:
    stage: train
    from: {student: student, data: data.train, valid: data.valid}
    models: {ratio: {model: mlp, hidden: [4], final: sigmoid, squeeze: true, num_classes: 1, in_features: 64}}
    step:
      nodes:
        s: {call: student, from: [batch.image]}
        ce: {op: cross_entropy, from: [s.logits, batch.label]}
        alpha: {call: ratio, from: [batch.image]}
        each: {op: cross_entropy, from: [s.logits, batch.label], reduction: none}
        flat: {op: cross_entropy, from: [s.logits, batch.label], reduction: none, label_smoothing: 0.9}
        mixed: {op: mix_losses, from: [each, flat, alpha]}
      updates:
        ratio:
          minimize: {ce: 1.0}
          train: [ratio]
          through: {update: main, steps: 1}
          batch: valid
          optimizer: {optimizer: sgd, lr: 1.0}
        main: {minimize: {mixed: 1.0}, train: [student], optimizer: {optimizer: sgd, lr: 0.5}}
    steps: 1
"""

# A value handed from pass to pass.
CHAIN = """
graph:
  start: {op: standard_normal, from: [shape]}
  shape: {op: constant, shape: [4]}
  chain: {foreach: {turn: 30, carry: {value: start}}, do: {value: {op: scale, from: [value.before], by: 0.9}}}
  end: {stage: measure, from: {value: chain.last}, metrics: [{metric: mean_value, from: [value], name: mean}]}
"""

# Values of nodes for every row, and what other stages make of them.
COMPUTED = """
graph:
  fit: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1}
  values:
    stage: compute
    from: {model: fit, data: data.test}
    step: {nodes: {s: {call: model, from: [batch.image], taps: {feature: feature}}, said: {op: hard_label, from: [s.logits]}}}
    of: [s.logits, said, s.feature]
  again: {stage: predict, from: [fit, data.test]}
  rows: {stage: label, by: column_values, from: [data.test, values.said], column: said}
  parts: {stage: partition, by: by_class, from: [rows], groups: 2, column: said}
  counted: {foreach: {part: parts}, do: {score: {stage: evaluate, from: [fit, part], metrics: [accuracy]}}}
  scores:
    stage: measure
    from: {values: values, again: again, table: counted}
    metrics:
      - {metric: mean_squared_distance, from: [values, again], name: apart}
      - {metric: mean_value, from: [table.accuracy], name: mean}
arms:
  plain: {}
  other: {counted: {stage: evaluate, from: [fit, data.test], metrics: [accuracy]}, skip: [scores]}
"""


def write_recipe(folder: Path, body: str, header: str = ALONE, name: str = "own") -> str:
    """Write ``body`` under ``header`` as a recipe of that name; its path."""
    path = folder / f"{name}.yaml"
    path.write_text(header + body)
    return str(path)


def stranger(folder: Path, body: str, header: str = NO_TRANSFER) -> str:
    """A recipe that someone else wrote: ``stranger.yaml``."""
    return write_recipe(folder, body, header, name="stranger")


def composed(
    folder: Path, body: str, *overrides: str, arm: str | None = None, scale: str | None = None
) -> dict[str, Any]:
    """The config that a recipe with this body composes to."""
    return Composer.named(stranger(folder, body), overrides).compose(arm=arm, scale=scale).config
