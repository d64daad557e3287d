"""``predict``: what models say of rows, and what is known of it before anything runs."""

from __future__ import annotations

from support.recipes import write_recipe

SAID = """
graph:
  fit: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1}
  one: {stage: predict, from: [fit, data.train], taps: {feature: feature}}
  two: {stage: predict, from: {model: [fit, teacher], data: data.test}, of: probabilities}
results: [one, two]
"""


def test_planning_knows_the_shapes_that_running_gives(session, tmp_path) -> None:
    ready = session(write_recipe(tmp_path, SAID), "data.limit=96")
    planned = {s.name: s for s in ready.plan().stages}
    assert planned["one"].notes == planned["two"].notes == ()
    ready.run()
    for name in ("one", "two"):
        found = ready.store.read(ready.keys[name])
        assert set(found) == set(planned[name].fields)
        for field, artifact in found.items():
            value = artifact.values[""]
            assert (tuple(value.shape), value.dtype) == (
                planned[name].fields[field].shape,
                planned[name].fields[field].dtype,
            )
    assert planned["one"].fields[""].shape == (96, 10)
    assert planned["two"].fields[""].shape == (2, 600, 10)
