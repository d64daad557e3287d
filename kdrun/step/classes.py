"""Whether models tell as many classes apart as the data have, and read the tokens that these give them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kdrun.data.dataset import DataInfo
from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref
from kdrun.grammar.steps import Step, StepNode
from kdrun.models.vocabularies import unreadable
from kdrun.registry import catalog

__all__ = ["check_classes", "check_tokens"]

LABEL = Ref("batch", ("label",))


def check_classes(step: Step, shapes: Mapping[str, Any], infos: Mapping[str, DataInfo]) -> None:
    """Raise ``InputError`` for an op that is given the data's labels and logits [batch, classes] of fewer classes.

    ``shapes`` are those of the nodes' values, ``infos`` what is known of each loader: the one with the fewest classes counts.
    """
    classes = min((info.classes for info in infos.values() if info.classes is not None), default=0)
    for node in step.nodes.values():
        for ref, width in _answers(node, shapes):
            if width < classes:
                raise InputError(
                    f"'{node.name}' ({node.node.verb} {node.node.part}) compares '{ref}', which tells {width} classes apart, "
                    f"with labels of {classes}: the model's num_classes has to be {classes}, or auto",
                    key=node.node.key,
                )


def _answers(node: StepNode, shapes: Mapping[str, Any]) -> Iterator[tuple[Ref, int]]:
    """The logits [batch, classes] that an op compares with the data's labels, and how many classes they tell apart."""
    if node.node.verb != "op":
        return
    bound = catalog().get("op", node.node.part).bind(node.node.inputs, key=node.node.key)
    if bound.get("labels") != LABEL:
        return
    for name, ref in bound.items():
        if name.endswith("logits") and isinstance(ref, Ref):
            shape = shapes.get(ref.name)
            if isinstance(shape, Mapping) and ref.field:
                shape = shape.get(ref.field[0])
            if isinstance(shape, list) and len(shape) == 2 and isinstance(shape[1], int):
                yield ref, shape[1]


def check_tokens(step: Step, specs: Mapping[str, Mapping[str, Any]], infos: Mapping[str, DataInfo]) -> None:
    """Raise ``InputError`` for a call of a model that reads ids of another tokenizer than its own, as far as both are known."""
    for node in step.nodes.values():
        if node.node.verb != "call" or node.inner or node.role not in specs:
            continue
        for ref in node.node.refs():
            info = infos.get("data" if ref.name == "batch" else ref.name)
            if info is None or not ref.field or not ref.field[0].endswith("tokens"):
                continue
            before = ref.field[0].removesuffix("tokens")
            tokenizer = info.extra.get(f"{before}tokenizer")
            reason = unreadable(specs[node.role], tokenizer, info.extra.get(f"{before}vocabulary"))
            if reason is not None:
                raise InputError(
                    f"'{node.name}' (call {node.role}) cannot read '{ref}', ids of the tokenizer '{tokenizer}': {reason}; models of "
                    "other vocabularies learn from each other by transfer=cross_vocabulary/universal_logits or another method of "
                    "that protocol",
                    key=node.node.key,
                )
