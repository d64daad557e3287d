"""A launcher of Hydra's, as the command line chooses it, for jobs that are not a multirun's."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode

from kdrun.config.hydra_loader import Loader, initialised, plain_errors
from kdrun.config.paths import RecipeFile
from kdrun.errors import InputError

__all__ = ["check_launcher", "launch", "words_of"]

HERE = "basic"
"""The launcher that is none: jobs run in this process."""


class _AsItIs(Loader):
    """Gives every job the configuration of all: what a job is, it knows by its number."""

    def load_sweep_config(self, master_config: Any, sweep_overrides: list[str]) -> Any:
        return copy.deepcopy(master_config)


def words_of(overrides: Sequence[str]) -> tuple[str, ...]:
    """The words of a command line that choose a launcher and its settings; none where jobs run in this process.

    >>> words_of(["epochs=2", "launcher=joblib", "hydra.launcher.n_jobs=2"])
    ('launcher=joblib', 'hydra.launcher.n_jobs=2')
    >>> words_of(["launcher=basic"])
    ()
    """
    bare = {word: word.lstrip("+~") for word in overrides}
    chosen = [w for w, b in bare.items() if b.startswith("launcher=") and b != f"launcher={HERE}"]
    settings = [w for w, b in bare.items() if b.startswith("hydra.launcher.")]
    return (*chosen, *settings) if chosen else ()


def check_launcher(recipe: RecipeFile, words: Sequence[str]) -> None:
    """Raise ``InputError`` for a launcher that there is not, or settings that it has not."""
    with initialised(recipe) as hydra, plain_errors():
        hydra.compose_config("config", [*words, "hydra.mode=MULTIRUN"], run_mode=RunMode.MULTIRUN)


def launch(recipe: RecipeFile, words: Sequence[str], task: Callable[[int], Any], count: int) -> list[Any]:
    """Let a launcher call ``task`` with the numbers from 0 to ``count`` - 1, wherever it does; return what that returned.

    ``words`` choose the launcher and the folder of records (``runs=``). Raises ``InputError`` for a launcher that there is not, and
    what the launcher or the task raises.
    """
    from hydra._internal.callbacks import Callbacks

    with initialised(recipe) as hydra, joined(hydra, words):
        with plain_errors():
            asked = [*words, "hydra.mode=MULTIRUN"]
            config = hydra.compose_config("config", asked, run_mode=RunMode.MULTIRUN, with_log_configuration=True)
            context = HydraContext(config_loader=_AsItIs(recipe), callbacks=Callbacks(config))
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=context, task_function=_Numbered(task), config=config
            )
        returned = launcher.launch([[f"job={number}"] for number in range(count)], initial_job_idx=0)
        return [job.return_value for job in returned]


@contextlib.contextmanager
def joined(hydra: Any, words: Sequence[str]) -> Iterator[None]:
    """While the block runs, this process is part of the Ray cluster that a launcher's settings name, if they name one.

    The launcher by itself starts a cluster on this machine: it gives ``ray.init`` a size of memory, with which none can be joined.
    ``words`` are those of the command line. Raises ``InputError`` where no cluster answers.
    """
    init = _asked_of_ray(hydra, words)
    if init is None or not (init.get("address") or os.environ.get("RAY_ADDRESS")):
        yield
        return
    import ray

    try:
        ray.init(**init)
    except (ConnectionError, ValueError) as error:
        raise InputError(f"no Ray cluster can be joined: {error}", key="hydra.launcher.ray.init") from None
    try:
        yield
    finally:
        ray.shutdown()


def _asked_of_ray(hydra: Any, words: Sequence[str]) -> dict[str, Any] | None:
    """What the launcher is to give to ``ray.init``; None for a launcher that has nothing to do with it."""
    from omegaconf import OmegaConf

    if not (words := words_of(words)):
        return None
    config = hydra.compose_config("config", [*words, "hydra.mode=MULTIRUN"], run_mode=RunMode.MULTIRUN)
    launcher: Any = OmegaConf.to_container(config.hydra.launcher, resolve=False)
    ours = str(launcher["_target_"]).endswith(".RayLauncher")
    return dict((launcher.get("ray") or {}).get("init") or {}) if ours else None


class _Numbered:
    """What Hydra calls in each job: the task, told the job's number."""

    def __init__(self, task: Callable[[int], Any]) -> None:
        self.task = task

    def __call__(self, config: Any) -> Any:
        from hydra.core.hydra_config import HydraConfig

        return self.task(int(HydraConfig.get().job.num))
