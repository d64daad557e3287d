"""What a configuration may say, by who says it. Each stranger's file would leave a mark, and none does."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdrun.config.compose import Composer
from kdrun.errors import InputError
from kdrun.registry import catalog
from support.recipes import composed, stranger

EVIL = "from pathlib import Path\n\nPath(__file__).with_name('mark').touch()\n"

HEADER = "# @package _global_\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a plug-in that leaves a mark where it is imported."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text(EVIL)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


SAID = {
    "at the top": "{key}: {value}\n",
    "by a dotted key": "{key}.x: {value}\n",
    "in an arm": "arms: {{a: {{{key}: {value}}}}}\n",
    "in an arm that another is like": "arms: {{b: {{{key}: {value}}}, a: {{like: b}}}}\n",
    "in a scale": "scales: {{smoke: {{{key}: {value}}}}}\narms: {{a: {{}}}}\n",
    "in a scale for an arm": "scales: {{smoke: {{arms: {{a: {{{key}: {value}}}}}}}}}\narms: {{a: {{}}}}\n",
}

OF_THE_USER = {"plugins": "[evil.py]", "store": "elsewhere", "runs": "elsewhere", "tracker": "{tracker: wandb}"}


@pytest.mark.parametrize("key", OF_THE_USER)
@pytest.mark.parametrize("how", SAID)
def test_no_layer_of_a_recipe_says_what_is_the_users(place, how, key) -> None:
    with pytest.raises(InputError) as refused:
        composed(
            place,
            SAID[how].format(key=key, value=OF_THE_USER[key]),
            arm="a" if "arm" in how else None,
            scale="smoke" if "scale" in how else None,
        )
    told = str(refused.value)
    assert f"only the command line may set '{key}'" in told
    assert "stranger.yaml:" in told
    assert "\n" not in told


@pytest.mark.parametrize("command", ["check", "plan", "show", "run", "reproduce", "export"])
def test_no_command_imports_what_an_arm_names(place, kdrun, command) -> None:
    recipe = stranger(place, "arms: {quiet: {}, loud: {plugins: [evil.py]}}\nscales: {smoke: {}}\n")
    arm = [] if command == "reproduce" else ["arm=loud"]
    answer = kdrun(command, recipe, *arm, "scale=smoke")
    assert answer.code == 2
    assert "stranger.yaml:3: arms.loud.plugins: only the command line may set 'plugins'" in answer.err
    assert answer.err.count("\n") == 1
    assert not (place / "mark").exists()


def test_no_job_of_a_multirun_imports_what_its_arm_names(place, kdrun) -> None:
    recipe = stranger(place, "arms: {loud: {plugins: [evil.py]}, shrill: {runs: elsewhere}}\n")
    assert kdrun("run", recipe, "-m", "arm=loud,shrill").code == 2
    assert not (place / "mark").exists()
    assert not (place / "elsewhere").exists()


def test_all_arms_are_judged_before_any_runs(place, kdrun) -> None:
    recipe = stranger(place, "epochs: 1\ndata.limit: 64\narms: {quiet: {}, loud: {store: elsewhere}}\n")
    assert kdrun("reproduce", recipe, "seeds=1").code == 2
    assert not (place / "store").exists()


def test_what_the_user_says_is_not_computed_from_a_file(place) -> None:
    with pytest.raises(InputError, match="store is said plainly"):
        composed(place, "notes: x\ntransfer.where: elsewhere\n", "store=${transfer.where}")


def test_the_user_says_all_of_it(place) -> None:
    config = composed(place, "", "store=~/mine", "runs=here", "tracker=wandb", "tracker.project=mine")
    assert (config["store"], config["runs"]) == (str(Path.home() / "mine"), "here")
    assert config["tracker"]["project"] == "mine"


def test_an_option_of_the_working_folder_says_nothing_of_the_users(place) -> None:
    write(place / "conf/data/mine.yaml", f"{HEADER}data: {{data: digits}}\nplugins: [evil.py]\n")
    write(place / "conf/add/mine.yaml", f"{HEADER}runs: elsewhere\n")
    for chosen in ("data=mine", "+add=mine"):
        with pytest.raises(InputError, match=r"conf/(data|add)/mine.yaml:\d: .*only the command line may set"):
            Composer.named("kd", [chosen]).base()


def test_a_tracker_of_ones_own_is_chosen_on_the_command_line(place) -> None:
    write(place / "conf/tracker/mine.yaml", "tracker: wandb\nproject: mine\n")
    assert Composer.named("kd", ["tracker=mine"]).base().config["tracker"]["project"] == "mine"
    recipe = stranger(
        place, "", f"{HEADER}defaults: [{{override /tracker: mine}}, {{override /transfer: distillation/none}}]\n"
    )
    with pytest.raises(InputError, match="is no group of an experiment"):
        Composer.named(recipe).base()


@pytest.mark.parametrize("name", ["wandb", "local"])
def test_no_file_takes_the_place_of_a_tracker_that_the_user_means(place, name) -> None:
    write(place / f"conf/tracker/{name}.yaml", "tracker: wandb\nentity: stranger\n")
    with pytest.raises(InputError, match=f"kdrun has an option tracker={name}"):
        Composer.named("kd", [f"tracker={name}"] if name != "local" else []).base()


@pytest.mark.parametrize("option", ["../../outside", "folder/../../outside", "~/outside", "/etc/outside"])
def test_the_name_of_an_option_stays_in_its_folder(place, option) -> None:
    write(place.parent / "outside.yaml", "data: digits\n")
    for body, arm in ((f"arms: {{a: {{data: {option}}}}}\n", "a"), ("", None)):
        with pytest.raises(InputError, match="no option|leads out|Could not find"):
            composed(place, body, *([] if arm else [f"data='{option}'"]), arm=arm)


def test_no_option_of_the_working_folder_takes_the_place_of_hydras(place, kdrun) -> None:
    write(place / "conf/hydra/launcher/joblib.yaml", "_target_: evil.Launcher\n")
    write(place / "conf/launcher/mine.yaml", f"{HEADER}hydra: {{launcher: {{_target_: evil.Launcher}}}}\n")
    recipe = stranger(place, "epochs: 1\ndata.limit: 64\n")
    answer = kdrun("run", recipe, "-m", "seed=0,1", "launcher=mine")
    assert answer.code == 2
    assert "Hydra's own settings come from the command line alone" in answer.err
    assert "evil" not in kdrun("run", recipe, "--cfg", "hydra", "launcher=joblib").out
    assert not (place / "mark").exists()


@pytest.fixture
def outside(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder elsewhere, with text and something pretrained that nobody is to read."""
    folder = tmp_path_factory.mktemp("outside")
    write(folder / "train.txt", "nobody is to read this\n")
    write(folder / "config.json", "{}")
    return folder


TEXT = "{{data: text_corpus, source: folder, root: {path}}}"

NAMED = {
    "data": f"data: {TEXT}\n",
    "a node": "graph: {{more: " + TEXT + "}}\n",
    "data inside other data": "graph: {{more: {{data: class_sources, base: {{data: folder, root: {path}}}, groups: [[0]]}}}}\n",
    "an item of a loop": "graph: {{rounds: {{foreach: {{task: [" + TEXT + "]}}, do: {{}}}}}}\n",
    "a named step": "steps: {{mine: {{nodes: {{}}, models: {{p: {{model: linear, weights: {path}}}}}}}}}\n",
    "weights": "student.weights: {path}\n",
    "weights but for some": "student.weights: {{path: {path}, skip: [head]}}\n",
    "each of several": "graph: {{fit_student: {{models: {{p: {{each: ['{path}'], model: linear, weights: '{{}}'}}}}}}}}\n",
    "a tokenizer": "data: {{data: text_corpus, tokenizer: {path}}}\n",
    "a tokenizer of inherited parameters": "data: {{data: canary_corpus, tokenizer: {path}}}\n",
    "a pretrained model": "student: {{model: transformers, name: {path}, pretrained: true, channels: null}}\n",
    "a choice of a space": "graph: {{more: {{space: choices, model: {{model: linear}}, choices: {{weights: ['{path}']}}}}}}\n",
    "a choice of models, too": "graph: {{more: {{space: choices, model: {{a: 1}}, choices: {{model: [mlp, sentence_encoder], name: ['{path}']}}}}}}\n",
    "an expression": "somewhere: {path}\ndata: {{data: text_corpus, source: folder, root: '${{somewhere}}'}}\n",
    "an arm": "arms: {{a: {{data.root: {path}}}}}\ndata: {{data: text_corpus, source: folder, root: here}}\n",
}


@pytest.mark.parametrize("how", NAMED)
def test_a_recipe_names_nothing_to_read_outside_of_the_working_folder(place, outside, how) -> None:
    with pytest.raises(InputError) as refused:
        composed(place, NAMED[how].format(path=outside), arm="a" if how == "an arm" else None)
    told = str(refused.value)
    assert f"'{outside}' lies outside of the working folder" in told
    assert "stranger.yaml:" in told
    assert f"={outside} on the command line" in told


@pytest.mark.parametrize("how", NAMED)
def test_what_lies_in_the_working_folder_anybody_names(place, how) -> None:
    composed(place, NAMED[how].format(path="mine/part"), arm="a" if how == "an arm" else None)


@pytest.mark.parametrize(
    "path", ["../outside", "here/../../outside", "~", "~/x", "/", "link", "link/part", "/proc/self/root"]
)
def test_no_way_leads_out(place, outside, path) -> None:
    (place / "here").mkdir()
    (place / "link").symlink_to(outside)
    with pytest.raises(InputError, match="lies outside of the working folder"):
        composed(place, f"data: {{data: text_corpus, source: folder, root: '{path}'}}\n")


def test_every_part_says_which_of_its_parameters_are_read() -> None:
    words = ("root", "texts", "path", "file", "folder", "tokenizer", "pretrained")
    unsaid = [
        f"{part.name}.{name}"
        for part in catalog()
        for name, parameter in part.parameters.items()
        if name in words and "str" in parameter.annotation and not parameter.reads
    ]
    assert unsaid == []


def test_an_entry_of_a_hub_is_no_path(place) -> None:
    composed(place, "data: {data: text_corpus, tokenizer: openai-community/gpt2}\n")


BODY = "data: {data: text_corpus, source: folder, root: here}\n"


def test_the_user_names_any_place(place, outside, monkeypatch) -> None:
    assert composed(place, BODY, f"data.root={outside}")["data"]["root"] == str(outside)
    assert composed(place, BODY, f"data={{data: text_corpus, source: folder, root: '{outside}'}}")
    more = f"{BODY}graph: {{more: {{data: text_corpus, source: folder, root: '${{data.root}}/part'}}}}\n"
    assert composed(place, more, f"data.root={outside}")["graph"]["more"]["root"] == f"{outside}/part"
    with pytest.raises(InputError, match="lies outside"):
        composed(place, more.replace("/part", "/../part"), f"data.root={outside}")
    monkeypatch.setenv("KDRUN_READ", f"/nowhere:{outside}")
    assert composed(place, BODY.replace("here", f"{outside}/part"))


def test_a_word_that_the_user_says_of_something_else_opens_no_folder_around_this_one(place) -> None:
    body = "data: {data: text_corpus, source: folder, root: '${transfer.mark}'}\ntransfer: {mark: x}\n"
    with pytest.raises(InputError, match="lies outside"):
        composed(place, body, "transfer.mark=/")


def test_the_installed_packages_own_places_are_read(place) -> None:
    assert composed(place, "", "data=cifar10")["data"]["root"] == "~/.cache/kdrun/data"
    assert Composer.named("kd3", ["data=imagenet", "data.root=/x"]).base().config["data"]["root"] == "/x"


def test_an_option_of_the_working_folder_reads_as_a_recipe_does(place, outside) -> None:
    write(place / "conf/data/mine.yaml", f"data: text_corpus\nsource: folder\nroot: {outside}\naugment: []\n")
    with pytest.raises(InputError, match=r"conf/data/mine.yaml:3: data.root: .* lies outside"):
        Composer.named("kd", ["data=mine"]).base()


@pytest.mark.parametrize("name", ["conf/data/mine.yaml", "conf/data", "recipes/mine.yaml"])
def test_no_link_brings_a_file_of_elsewhere_in(place, tmp_path_factory, kdrun, monkeypatch, name) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    content = f"{HEADER}epochs: 1\n" if "recipes" in name else "data: digits\naugment: []\n"
    write(elsewhere / "mine.yaml", f"# nobody is to read this\n{content}")
    (place / name).parent.mkdir(parents=True)
    (place / name).symlink_to(elsewhere / "mine.yaml" if name.endswith("yaml") else elsewhere)
    asked = ["mine"] if "recipes" in name else ["kd", "data=mine"]
    answer = kdrun("check", *asked)
    assert answer.code == 2
    assert "a link leads from here to" in answer.err
    assert "nobody" not in kdrun("list", "groups", "data").out
    assert kdrun("list").code == 0
    monkeypatch.setenv("KDRUN_READ", str(elsewhere))
    assert "a link leads" not in kdrun("check", *asked).err


def test_no_link_inside_a_folder_of_data_leads_out_of_it(place, outside, kdrun, monkeypatch) -> None:
    for split in ("train", "valid", "test"):
        write(place / f"mine/{split}.txt", "all is well\n" * 100)
    (place / "mine/train.txt").unlink()
    (place / "mine/train.txt").symlink_to(outside / "train.txt")
    recipe = stranger(
        place,
        "graph: {}\n",
        f"{HEADER}defaults: [{{override /data: text_folder}}, {{override /transfer: distillation/none}}]\n",
    )
    answer = kdrun(
        "plan", recipe, "data.root=mine", "student=transformer_nano", "teacher=transformer_nano", "data.block=8"
    )
    assert answer.code == 2
    assert "mine/train.txt leads out of mine" in answer.err


@pytest.mark.parametrize(
    ("table", "image"), [("{}/labels.csv", "a.png"), ("labels.csv", "{}/a.png"), ("labels.csv", "../../a.png")]
)
def test_no_table_names_an_image_outside_of_its_folder(place, outside, table, image) -> None:
    from kdrun.data.tabled_images import TabledImages

    for folder in (outside, place / "mine"):
        write(folder / "labels.csv", f"file,size,split\n{image.format(outside)},1,train\n")
    with pytest.raises(InputError, match="leads out of mine"):
        TabledImages(root="mine", table=table.format(outside)).fingerprint()
