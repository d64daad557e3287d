"""``new``: a project of one's own runs as it stands, from an installed package, in a folder of any name."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from kdrun.commands.new_ import files_of_template
from kdrun.config.paths import template_dir

ROOT = Path(__file__).parents[2]
NAME = "Größe, neu (1)"
PARTS = "plugins=[parts.py]"


@pytest.fixture
def project(kdrun, tmp_path, monkeypatch) -> Path:
    answer = kdrun("new", NAME)
    assert answer.code == 0, answer.err
    assert f"cd '{NAME}'" in answer.out
    monkeypatch.chdir(tmp_path / NAME)
    return tmp_path / NAME


def test_every_arm_of_the_new_study_checks_and_one_runs(kdrun, project) -> None:
    assert kdrun("check", "my_study", "scale=smoke", PARTS).out.count("all well") == 3
    answer = kdrun("run", "my_study", "scale=smoke", "data.limit=32", PARTS)
    assert answer.code == 0, answer.err
    assert "test.accuracy" in answer.out
    assert kdrun("export", "my_study", "scale=smoke", "data.limit=32", PARTS).code == 0


def test_its_readme_has_the_name_and_shows_what_is_there(project) -> None:
    text = (project / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {NAME}\n")
    template = template_dir() / "project"
    written = {p.relative_to(project) for p in project.rglob("*") if p.is_file()}
    assert written == {p.relative_to(template) for p in files_of_template(template)}
    assert all(str(path) in text for path in written if path.suffix == ".yaml")


def test_a_part_in_a_file_that_was_not_named_is_pointed_at(kdrun, project) -> None:
    answer = kdrun("check", "my_study")
    assert answer.code == 2
    assert "no model is called 'my_network'; parts.py has it: add plugins=[parts.py]" in answer.err


def test_a_folder_in_use_is_left_alone(kdrun, tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    answer = kdrun("new", "mine")
    assert (answer.code, answer.err) == (2, "kdrun: mine is there already and not empty: choose another name\n")
    (tmp_path / "file").write_text("")
    assert "choose another name" in kdrun("new", "file").err
    assert "kdrun: cannot write" in kdrun("new", "file/inside").err


def test_own_options_and_recipes_of_the_working_folder_are_listed(kdrun, project) -> None:
    assert "my_study" in kdrun("list", "papers").out
    assert "data=my_images" in kdrun("list", "groups", "my_").out
    assert "distillation/my_method" in kdrun("list", "methods", "my_method").out
    told = kdrun("list", "papers").err
    assert "recipes/" in told
    assert "kdrun new" in told


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder of programs of an environment that has kdrun from its wheel, and everything else from this one."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    programs = folder / "venv" / "bin"
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "--python", str(programs / "python"), "install", "--no-deps", str(wheel)], check=True)
    (inside,) = (folder / "venv").glob("lib/python*/site-packages")
    (inside / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return programs


@pytest.mark.slow
def test_the_project_runs_from_the_wheel(installed, tmp_path) -> None:
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    surroundings = {**kept, "KDRUN_STORE": str(tmp_path / "store"), "OMP_NUM_THREADS": "1"}

    def call(*words: str, folder: Path = tmp_path / NAME) -> str:
        ended = subprocess.run(
            [str(installed / words[0]), *words[1:]], cwd=folder, env=surroundings, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    where = call("python", "-c", "import kdrun; print(kdrun.__file__)", folder=tmp_path)
    assert str(installed.parent) in where
    call("kdrun", "new", NAME, folder=tmp_path)
    assert "test.accuracy" in call("kdrun", "run", "my_study", "scale=smoke", PARTS)
    assert "beats_kd" in call("kdrun", "reproduce", "my_study", "scale=smoke", PARTS)
    call("kdrun", "run", "my_study", "-m", "arm=my_method,kd", "scale=smoke", PARTS)
    call("kdrun", "export", "my_study", "scale=smoke", PARTS)
    assert "5 passed" in call("python", "-m", "pytest")
