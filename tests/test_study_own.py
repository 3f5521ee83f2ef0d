"""A user's own network and loss as levels of a study: one real study, small, and what is refused before it."""

import json
import re
import shlex
from pathlib import Path

import pytest

from search_spaces import Choice, LogUniform, Space
from study import manifest, run
from study.command_line import options_of
from study.options import check_metric, current_preset, settle
from study.own_code import try_out
from study.planning import plan
from tests.conftest import TINY, set_options
from tests.test_trials_own import MINE
from trials import predict, train
from trials.config import TrialConfig
from trials.own import OwnError, OwnFile

SPACE = """from search_spaces import Choice, LogUniform, Space

SPACE = Space(
    name="mine",
    question="Does a network of mine do better than the UNet?",
    axes={
        "model": Choice(("unet", "mine.py:TinyNet")),
        "loss": Choice(("bce", "mine.py:tversky")),
        "own.tau": LogUniform(0.2, 0.8),
    },
    baseline={"model": "mine.py:TinyNet", "loss": "mine.py:tversky", "own.tau": 0.5},
    conditions={"own.tau": ("loss", "mine.py:tversky")},
)
"""
SETTINGS = set_options({**TINY, "epochs": 1})

ASKED = {
    **dict(preset="quick", search="random", scheduler="none", samples=1, seeds=1, metric="val_dice"),
    **dict(time_budget_s=None, concurrent=1, cpus_per_trial=1, gpus_per_trial=None),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A user's folder with a space and beside it the file that it names."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "mine.py").write_text(MINE)
    (folder / "space.py").write_text(SPACE)
    return folder


@pytest.fixture(scope="module")
def finished(place) -> Path:
    """The folder of a finished study of four trials; the file was changed after it."""
    arguments = ["--space", str(place / "space.py"), "--samples", "4", "--search", "grid", "--points", "own.tau=0.5"]
    arguments += ["--set", "own.depth=2", "--results", str(place / "results"), "--name", "a", "--concurrent", "1"]
    assert run.main([*arguments, *SETTINGS, "--scheduler", "none"]) == 0
    (place / "mine.py").write_text("raise RuntimeError('the changed original was run')")
    return place / "results/a"


def params(study: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(study.glob("*/params.json"))]


def is_ours(settings: dict) -> bool:
    return settings["model"] == "unet" and settings["loss"] == "bce"


def test_a_study_has_networks_and_losses_of_ones_own(finished):
    assert {(each["model"], each["loss"]) for each in params(finished)} == {
        (model, loss) for model in ("unet", "mine.py:TinyNet") for loss in ("bce", "mine.py:tversky")
    }
    ended = [json.loads(path.read_text()) for path in finished.glob("*/outcome.json")]
    assert [each["outcome"] for each in ended] == ["completed"] * 4, ended


def test_the_file_is_in_the_study_and_its_hash_in_the_record(finished):
    written = json.loads((finished / "study.json").read_text())
    assert (finished / "own/mine.py").read_text() == MINE
    assert written["fixed"]["code"] == f"mine.py {OwnFile(MINE).sha256[:12]}"
    assert written["fixed"]["own.depth"] == 2
    assert all(each["code"]["mine.py"]["text"] == MINE for each in params(finished))


def test_no_line_of_the_results_repeats_the_file(finished):
    for path in finished.glob("*/result.json"):
        assert "code" not in json.loads(path.read_text().splitlines()[-1])["config"]


def test_the_page_shows_axes_of_ones_own_and_not_the_files_text(finished):
    page = (finished / "report/report.html").read_text()
    assert "own.tau" in page
    assert "mine.py:TinyNet" in page
    assert "nn.Conv2d" not in page + (finished / "report/report.json").read_text()
    assert "nn.Conv2d" not in (finished / "report/tables/trials.csv").read_text()


def test_the_pages_command_re_runs_a_trial_with_the_studys_copy(finished, tmp_path):
    made = json.loads((finished / "report/report.json").read_text())
    commands = re.findall(r'"(python -m trials.train [^"]*TinyNet[^"]*)"', json.dumps(made))
    words = shlex.split(commands[0].replace("\\\\", "\\"))[3:]
    words[words.index("--out") + 1] = str(tmp_path / "again")
    assert train.main(words) == 0
    again = json.loads((tmp_path / "again/config.json").read_text())
    assert again["code"]["mine.py"]["text"] == MINE


def test_a_trials_network_predicts_after_the_file_was_changed(finished, tmp_path, capsys):
    own = next(path for path in finished.glob("*/params.json") if "TinyNet" in json.loads(path.read_text())["model"])
    arguments = ["--checkpoint", str(own.parent), "--split", "val", "--out", str(tmp_path / "masks")]
    assert predict.main(arguments) == 2
    assert "--trust-code" in capsys.readouterr().err
    assert predict.main([*arguments, "--trust-code"]) == 0


def test_a_trial_of_our_own_parts_needs_no_trust(finished, tmp_path):
    ours = next(path for path in finished.glob("*/params.json") if is_ours(json.loads(path.read_text())))
    arguments = ["--checkpoint", str(ours.parent), "--split", "val", "--out", str(tmp_path / "masks")]
    assert predict.main(arguments) == 0


def test_a_resume_says_that_the_file_changed_and_keeps_the_copy(finished, capsys):
    written = json.loads((finished / "study.json").read_text())
    (finished / "study.json").write_text(json.dumps({**written, "finished": None}))
    assert run.main(["--resume", "--results", str(finished.parent), "--name", "a", "--dry-run"]) == 0
    assert "mine.py has changed since (sha256 " in capsys.readouterr().err
    (finished / "study.json").write_text(json.dumps(written))


# Before anything starts


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mine.py"


def own_space(**axes) -> Space:
    baseline = {name: axis.values[0] if isinstance(axis, Choice) else axis.low for name, axis in axes.items()}
    fixed = {name: value for name, value in TINY.items() if name not in axes}
    return Space("own", "?", axes=axes, fixed=fixed, baseline=baseline)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("class Net:\n    pass\n", "mine.py:Net gives a Net; wanted: a torch.nn.Module"),
        (
            "import torch\nclass Net(torch.nn.Conv2d):\n    def __init__(self):\n        1 / 0\n",
            "line 4, in Net.__init__",
        ),
        ("x = 3\n", "mine.py:Net: it has no Net"),
    ],
)
def test_what_a_level_cannot_do_is_said_before_a_folder_is_made(code, said, mine, tmp_path, capsys):
    mine.write_text(code)
    text = SPACE.replace("TinyNet", "Net").replace('"mine.py:tversky"', '"focal"').replace("own.tau", "focal_gamma")
    (tmp_path / "space.py").write_text(text)
    assert run.main(["--space", "space.py", "--results", "results", *SETTINGS]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert said in lines[0]
    assert not (tmp_path / "results").exists()


def test_a_loss_of_logits_beside_a_head_that_varies_is_refused(mine):
    space = own_space(loss=Choice(("bce", "mine.py:of_logits")), head=Choice(("logits", "sigmoid")))
    with pytest.raises(ValueError, match=r"has trials with loss='mine.py:of_logits', head='sigmoid'"):
        try_out(*settle(space, "quick", {}))


def test_a_loss_of_logits_among_the_levels_makes_all_heads_logits(mine):
    space, config = settle(own_space(loss=Choice(("bce", "mine.py:of_logits"))), "quick", {})
    assert config.head == "logits"
    assert try_out(space, config) == []


def test_an_axis_that_nothing_reads_is_refused(mine):
    space = own_space(**{"model": Choice(("mine.py:TinyNet", "unet")), "own.dpeth": LogUniform(1, 2)})
    with pytest.raises(OwnError, match=r"own.dpeth is read by nothing"):
        try_out(*settle(space, "quick", {}))


def test_a_loss_of_ones_own_cannot_be_ranked_by_itself(mine):
    space = own_space(**{"own.tau": LogUniform(0.2, 0.8)})
    settled = settle(space, "quick", {"loss": "mine.py:tversky"}, "val_loss")
    with pytest.raises(ValueError, match=r"cannot rank trials that differ in own\.tau"):
        check_metric(*settled)


def test_the_plan_knows_the_size_of_a_network_of_ones_own(mine):
    options = run.Options.from_dict(ASKED)
    space, config = settle(own_space(lr=LogUniform(1e-3, 1e-2)), "quick", {"model": "mine.py:TinyNet", "own.depth": 2})
    assert plan(space, config, options, 1).trial.num_parameters == (27 * 4 + 4) + 2 * (36 * 4 + 4 + 8) + 5


def test_files_that_a_space_names_lie_beside_it(mine, tmp_path):
    (tmp_path / "deep").mkdir()
    mine.rename(tmp_path / "deep/mine.py")
    space = own_space(model=Choice(("mine.py:TinyNet", "unet")))
    _, config = settle(space, "quick", {}, folders=[tmp_path / "deep", Path()])
    assert config.code["mine.py"].path == str(tmp_path / "deep/mine.py")
    with pytest.raises(OwnError, match=r"there is no file mine.py in"):
        settle(space, "quick", {})


def test_older_names_of_presets_and_levels_are_read():
    space = Space("old", "?", axes={"augment": Choice(("none", "report"))}, baseline={"augment": "report"})
    space, config = settle(space, current_preset("report"), {"data": "drawn"})
    assert space.axes["augment"].values == ("none", "lab2")
    assert (config.augment, config.image_size) == ("lab2", 256)
    assert options_of(["--space", "upsample", "--preset", "report"]).preset == "lab2"


def test_a_resume_reads_the_whole_configuration_and_that_of_older_studies(mine):
    space, config = settle(own_space(model=Choice(("mine.py:TinyNet", "unet"))), "quick", {})
    options = run.Options.from_dict(ASKED)
    written = json.loads(json.dumps(manifest.new_manifest("a", space, config, options, 1)))
    assert TrialConfig.from_dict(manifest.config_of(written)) == config
    space, config = settle(own_space(lr=LogUniform(1e-3, 1e-2)), "quick", {})
    written = json.loads(json.dumps(manifest.new_manifest("a", space, config, options, 1)))
    del written["config"]  # as an older version left it
    assert TrialConfig.from_dict(manifest.config_of(written)) == config
