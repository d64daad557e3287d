"""The same recipe and seed end with the same bytes, however the runs are made; and a loss that is no number ends any run, told."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdrun.engine.store import Store
from support.recipes import QUICK
from support.stored import stored

WAYS = {
    "one worker": ("reproduce", "kd", "seeds=2", "--arms", "kd,scratch", "--jobs", "1"),
    "two workers": ("reproduce", "kd", "seeds=2", "--arms", "kd,scratch", "--jobs", "2"),
    "a multirun": ("run", "kd", "-m", "arm=kd,scratch", "seed=0,1", "launcher=basic"),
    "a multirun by joblib": ("run", "kd", "-m", "arm=scratch,kd", "seed=1,0", "launcher=joblib"),
}


@pytest.mark.slow
def test_workers_launchers_order_and_what_was_there_leave_the_same_bytes(kdrun, tmp_path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="pip install 'kdrun[cluster]'")
    stores = {}
    for way, words in WAYS.items():
        answer = kdrun(*words, *QUICK, f"store={tmp_path / way}")
        assert answer.code == 0, f"{way}: {answer.err}"
        stores[way] = stored(tmp_path / way)
    cold = stores["one worker"]
    assert len(cold) > 12
    for way, found in stores.items():
        assert found == cold, way
    for key in sorted({Path(name).parent.name for name in cold})[::2]:  # half of what is there goes missing
        Store(tmp_path / "one worker").discard(key, "tried")
    assert kdrun(*WAYS["one worker"], *QUICK, f"store={tmp_path / 'one worker'}").code == 0
    warm = stored(tmp_path / "one worker")  # without what nothing read that was missing
    assert len(cold) >= len(warm) > len(cold) // 2
    assert warm.items() <= cold.items()


def test_processes_that_decode_images_leave_the_same_bytes(session, tmp_path) -> None:
    """Cut and turned at random in each epoch, by none, one and two of them, in batches that two do not share evenly."""
    chance = np.random.default_rng(0)
    for split, label in itertools.product(("train", "valid", "test"), ("cat", "dog")):
        (tmp_path / "images" / split / label).mkdir(parents=True)
        for i in range(7):
            pixels = chance.integers(0, 255, (9, 11, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / split / label / f"{i}.png")
    images = ("data=folder", f"data.root={tmp_path / 'images'}", "data.size=8", "epochs=2", "batch_size=5")
    found = []
    for workers in (0, 1, 2):
        place = f"store={tmp_path / str(workers)}"
        ready = session("kd", "transfer=none", *images, f"hardware.workers={workers}", place)
        assert ready.run().counts["cached"] == 0
        found.append(stored(tmp_path / str(workers)))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) > 3


NAN = '''from kdrun.registry import op

counted = 0


@op
def spoilt(loss, *, at):
    """A loss that is no number at one step."""
    global counted
    if type(loss).__name__ == "FakeTensor":
        return loss
    counted += 1
    return loss * float("nan") if counted == at + 1 else loss
'''


@pytest.mark.parametrize("at", [0, 3, 5], ids=["first", "middle", "last"])
def test_a_loss_that_is_no_number_at_any_step_is_named_and_recorded(kdrun, tmp_path, at) -> None:
    (tmp_path / "mine.py").write_text(NAN)
    words = (
        "plugins=[mine.py]",
        "epochs=3",
        "data.limit=128",
        "transfer=none",
        f"+graph.fit_student.step.nodes.wrong={{op: spoilt, from: [ce], at: {at}}}",
        "graph.fit_student.step.minimize={wrong: 1.0}",
    )
    answer = kdrun("run", "kd", *words)
    assert answer.code == 1, answer.out
    assert f"the loss became nan at step {at}: update 'main', term 'wrong'" in answer.err
    (path,) = tmp_path.glob("runs/*/*/result.json")
    record = json.loads(path.read_text())
    assert record["state"] == "failed"
    assert f"at step {at}: update 'main', term 'wrong'" in record["error"]
