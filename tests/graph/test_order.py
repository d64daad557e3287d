"""The order of a graph, however long its chains."""

from __future__ import annotations

from support.recipes import CHAIN, write_recipe


def test_a_long_chain_is_sorted_keyed_and_planned_without_nesting_calls(session, tmp_path) -> None:
    write_recipe(tmp_path, CHAIN.replace("turn: 30", "turn: 1500"), name="chain")
    ready = session("chain.yaml")
    assert len(ready.plan().stages) == 1503
