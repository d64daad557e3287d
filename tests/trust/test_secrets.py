"""Secrets of the environment stand nowhere: in no file that is written and in nothing that is said, whatever goes wrong."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path

import pytest

from kdrun.errors import concealed
from support.recipes import NO_TRANSFER, QUICK, write_recipe

PLANTED = {
    "HF_TOKEN": "hf_plantedONE11111111",
    "WANDB_API_KEY": "2" * 8 + "plantedtwo" + "2" * 22,
    "AWS_SECRET_ACCESS_KEY": "planted/THREE+3333333",
    "MY_SERVICE_PASSWORD": "planted-four-44444444",
}
IN_REMOTE, IN_PROXY = "planted-five-5555", "planted-six-6666"
SECRETS = [*PLANTED.values(), IN_REMOTE, IN_PROXY]

PARTS = """
import os

from kdrun.data.dataset import Dataset
from kdrun.registry import stage, tracker
from kdrun.runtime.artifacts import Artifact, Table

SAID = " ".join(os.environ[name] for name in ("HF_TOKEN", "MY_SERVICE_PASSWORD", "HTTPS_PROXY"))


@stage(value="table", random=False)
def telltale(data: Dataset, *, context) -> dict[str, Artifact]:
    \"\"\"Fails, and says what it should not.\"\"\"
    raise RuntimeError(f"401 Unauthorized: {SAID}")


class _Told:
    def log(self, values, step, stage):
        raise RuntimeError(f"401 Unauthorized: {SAID}")

    def finish(self, summary):
        pass


@tracker
def tells(folder, config):
    \"\"\"Fails at the first figures.\"\"\"
    return _Told()
"""


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kdrun: Callable) -> Callable:
    """``kdrun`` in a clone of a remote that is named with a token, with secrets in the environment."""
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{IN_PROXY}@127.0.0.1:9")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for words in (["init", "-q"], ["remote", "add", "origin", f"https://me:{IN_REMOTE}@host.invalid/x.git"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    author = ["-c", "user.name=n", "-c", "user.email=e@host.invalid"]
    subprocess.run(["git", *author, "commit", "-q", "--allow-empty", "-m", "x"], cwd=tmp_path, check=True)
    (tmp_path / "parts.py").write_text(PARTS)
    return kdrun


def told_in(folder: Path) -> Iterator[str]:
    """Where a secret stands in the files of a folder."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and ".git" not in path.parts and path.name != "parts.py":
            content = path.read_bytes()
            yield from (f"{path.relative_to(folder)}: {secret}" for secret in SECRETS if secret.encode() in content)


def said(answer) -> list[str]:
    return [secret for secret in SECRETS if secret in answer.out + answer.err]


def test_secrets_are_concealed_by_the_names_of_their_variables_and_as_logins(monkeypatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", 'a"b<c>\\d12')
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "plainly seen")
    monkeypatch.setenv("SHORT_TOKEN", "true")
    text = 'a"b<c>\\d12 of https://me:word@host/x, true, plainly seen'
    assert concealed(text) == "*** of https://***@host/x, true, plainly seen"
    assert concealed(json.dumps(text)) == '"*** of https://***@host/x, true, plainly seen"'
    assert concealed(escape(text)) == "*** of https://***@host/x, true, plainly seen"


RUN = ("run", "kd", "arm=scratch", *QUICK)


SMOKED = ("kd", "scale=smoke", "seeds=2")


@pytest.mark.parametrize(
    "commands",
    [
        pytest.param(
            [RUN, ("runs",), ("list", "runs"), ("export", *RUN[1:]), ("doctor",), ("gc",)],
            id="records",
        ),
        pytest.param([("reproduce", *SMOKED), ("report", *SMOKED)], id="reports", marks=pytest.mark.slow),
        pytest.param([(*RUN, "tracker=wandb", "tracker.mode=offline")], id="wandb", marks=pytest.mark.slow),
        pytest.param([(*RUN, "tracker=tensorboard")], id="tensorboard", marks=pytest.mark.slow),
        pytest.param(
            [("check", "kd"), ("plan", "kd"), ("show", "kd"), (*RUN, "--cfg", "job"), (*RUN, "--info")], id="looks"
        ),
    ],
)
def test_what_goes_well_tells_no_secret(planted, tmp_path, commands) -> None:
    for words in commands:
        answer = planted(*words)
        assert answer.code == 0, answer.err
        assert not said(answer), words
    assert not list(told_in(tmp_path))


@pytest.mark.parametrize(
    "body",
    [
        "epochs: ${oc.env:HF_TOKEN}",
        "epochs: ${env:HF_TOKEN}",
        "notes: ${oc.env:HF_TOKEN}\narms: {a: {epochs: '${oc.env:MY_SERVICE_PASSWORD}'}}",
        "teacher: {model: transformers, name: no/such-model-at-all}",
        "data: {root: /no/such/folder/$HF_TOKEN}",
        "graph: {test: {stage: nothing}}",
    ],
)
@pytest.mark.parametrize("command", ["check", "plan", "run"])
def test_a_bad_recipe_is_refused_without_a_secret(planted, tmp_path, command, body) -> None:
    answer = planted(command, write_recipe(tmp_path, body, header=NO_TRANSFER))
    assert not said(answer)
    assert not list(told_in(tmp_path))


FAILING = "graph: {tell: {stage: telltale, from: [data.test]}}\narms: {a: {}, b: {}}\n"


@pytest.mark.parametrize(
    "words",
    [("run", "arm=a"), ("run", "-m", "arm=a,b"), ("reproduce", "seeds=2")],
    ids=["run", "multirun", "reproduce"],
)
def test_a_part_that_fails_and_tells_a_secret_is_not_repeated(planted, tmp_path, words) -> None:
    recipe = write_recipe(tmp_path, FAILING, header=NO_TRANSFER)
    answer = planted(words[0], recipe, *words[1:], *QUICK, "plugins=[parts.py]")
    assert answer.code == 1
    assert "401 Unauthorized" in answer.err
    assert not said(answer)
    assert not list(told_in(tmp_path))


def test_a_tracker_that_fails_and_tells_a_secret_is_not_repeated(planted, tmp_path) -> None:
    answer = planted(*RUN, "plugins=[parts.py]", "+tracker={tracker: tells}")
    assert not said(answer)
    assert not list(told_in(tmp_path))
