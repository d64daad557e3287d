"""What Hydra and its launchers write lies among the records, in no folder that a link or another person has prepared."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from kdrun.config.hydra_loader import Loader
from kdrun.config.paths import find_recipe

SWEEP = ("run", "kd", "scale=smoke", "arm=scratch", "-m", "seed=0,1")
SUBMITIT = "hydra/launcher=submitit_local"


def launcher_of(*words: str):
    """The launcher's settings, as a multirun gets them."""
    from hydra.types import RunMode

    from kdrun.config.hydra_state import own_hydra, own_resolvers

    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install 'kdrun[cluster]'")
    with own_hydra(), own_resolvers(hydras=True):
        config = Loader(find_recipe("kd")).load_configuration("config", list(words), RunMode.MULTIRUN)
    return config.hydra.launcher


def test_what_submitit_pickles_lies_in_a_new_folder_among_the_records(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = (Path(launcher_of(SUBMITIT, "seed=0,1").submitit_folder) for _ in range(2))
    assert first.parts[:2] == second.parts[:2] == ("runs", ".submitit")
    assert len(first.parts[2]) == 32
    assert first.parts[2] != second.parts[2]
    assert launcher_of(SUBMITIT, "runs=there").submitit_folder.startswith("there/.submitit/")
    assert launcher_of(SUBMITIT, "hydra.launcher.submitit_folder=mine").submitit_folder == "mine"


@pytest.mark.parametrize("name", ["runs/.submitit", "runs/multirun.yaml", "runs"])
def test_nothing_is_written_through_a_link_before_the_first_job(kdrun, tmp_path: Path, name: str) -> None:
    outside, work = tmp_path.parent / f"{tmp_path.name}-outside", tmp_path
    outside.mkdir()
    (work / name).parent.mkdir(exist_ok=True)
    (work / name).symlink_to(outside / "file" if name.endswith("yaml") else outside)
    answer = kdrun(*SWEEP)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert f"{name} is a link" in answer.err
    assert not list(outside.iterdir())


class Marking:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self):
        return open, (self.mark, "w")


@pytest.mark.slow
def test_results_that_somebody_prepared_for_jobs_are_not_unpickled(kdrun, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install 'kdrun[cluster]'")
    content = pickle.dumps(("success", Marking(tmp_path / "mark")))
    for job in range(
        os.getpid(), os.getpid() + 3000
    ):  # jobs are called as their processes, which come one after the other
        folder = tmp_path / "runs" / ".submitit" / str(job)
        folder.mkdir(parents=True)
        (folder / f"{job}_0_result.pkl").write_bytes(content)
    answer = kdrun(*SWEEP, SUBMITIT, "hydra.launcher.timeout_min=5")
    assert answer.code == 0
    assert not (tmp_path / "mark").exists()
