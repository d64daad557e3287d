"""``benchmark``: slow nodes are told from fast ones."""

from __future__ import annotations

import pytest

from kdrun.errors import InputError


def test_sizes_come_from_the_data_and_a_benchmark_tells_slow_nodes_from_fast_ones(session) -> None:
    small = ("data.people=40", "data.cities=12", "data.companies=10", "data.tokenizer=characters", "epochs=1")
    no_texts = "skip=[texts,reduced,clusters,candidates,false_negatives]"
    left = [
        f"{name}={{from: {{candidates: null}}, step: {{nodes: {{cluster: null}}}}}}" for name in ("fit", "sampling")
    ]
    slow = "sampling.step.nodes.slow={op: standard_normal, from: [batch.head], features: 40000}"
    clock = (slow, "sampling.nodes=[uniform,slow]", "sampling.repeats=3")
    options = (*small, "transfer=uniform", no_texts, *left)
    ready = session("kg/lemon", *options, *clock)
    found = ready.run().metrics
    assert 0 < found["test.mrr"] <= found["test.same_kind.mrr"] <= 1
    assert found["sampling.slow"] > found["sampling.uniform"] > 0
    stages = {s.name: s for s in ready.plan().stages}
    assert stages["fit"].parameters["student"] == (106 + 11) * 40
    with pytest.raises(InputError, match="no node 'unifrom'"):
        session("kg/lemon", *options, "sampling.nodes=[unifrom]").run()
