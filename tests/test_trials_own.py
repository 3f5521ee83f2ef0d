"""A user's own network, loss, augmentation, optimiser and schedule: FILE.py:NAME in place of one of our names."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import TINY, set_options
from trials import predict, replay, train
from trials.config import TrialConfig, parse_settings
from trials.data.augment import Pipeline
from trials.outcome import line_of, write_json_line
from trials.own import OwnError, OwnFile, load, parse_setting, read_files
from trials.parts import build_augment, build_loss, build_model
from trials.rehearsal import check_own_settings, rehearse, with_own_code
from trials.training import run

MINE = """import numpy as np
import torch
from torch import nn


class TinyNet(nn.Module):
    def __init__(self, depth=1, width=8):
        super().__init__()
        layers = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 1, 1))

    def forward(self, images):
        return self.layers(images)


def of_config(config):
    return TinyNet(config.own.depth, config.width)


def tversky(probabilities, targets, tau=0.7):
    hit = (probabilities * targets).sum()
    missed, wrong = ((1 - probabilities) * targets).sum(), (probabilities * (1 - targets)).sum()
    return 1 - (hit + 1) / (hit + tau * missed + (1 - tau) * wrong + 1)


def of_logits(outputs, targets):
    return nn.functional.binary_cross_entropy_with_logits(outputs, targets)


def counted(logits, targets, valid):
    loss = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (loss * valid).sum() / valid.sum()


def noisy(strength=8.0):
    def change(image, mask, rng):
        changed = image + rng.normal(0, strength, image.shape)
        return np.clip(changed, 0, 255).astype(np.uint8), mask
    return change


def of_albumentations():
    import albumentations as A
    return [A.HorizontalFlip(p=1.0)]


def rms(parameters, lr):
    return torch.optim.RMSprop(parameters, lr=lr)


def steps(optimizer, num_steps):
    return torch.optim.lr_scheduler.StepLR(optimizer, max(1, num_steps // 2))
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """mine.py in the folder where the commands run."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mine.py"


def own_config(folder: Path = Path(), **settings) -> TrialConfig:
    return TrialConfig.from_dict(with_own_code({**TINY, **settings}, folder))


def command(*settings: str, **changed) -> list[str]:
    given = {**TINY, "epochs": 1, "train_limit": 16, **changed}
    return [*set_options(given), *settings]


# In a run


def test_a_run_has_a_network_and_a_loss_of_ones_own(mine, tmp_path, capsys):
    own = ["--set", "model=mine.py:TinyNet", "--set", "loss=mine.py:tversky", "--set", "own.depth=2"]
    assert train.main(command(*own, "--out", "run")) == 0, capsys.readouterr().err
    written = json.loads((tmp_path / "run/config.json").read_text())
    assert (written["model"], written["own.depth"]) == ("mine.py:TinyNet", 2)
    assert written["code"]["mine.py"]["sha256"] == OwnFile(MINE).sha256
    assert (tmp_path / "run/own/mine.py").read_text() == MINE
    state = torch.load(tmp_path / "run/checkpoints/best.pt", weights_only=True)["model"]
    assert "network.layers.8.weight" in state  # two blocks


def test_a_run_has_every_part_of_its_own(mine, capsys):
    own = {"loss": "counted", "augment": "noisy", "optimizer": "rms", "schedule": "steps", "model": "of_config"}
    changed = {**{name: f"mine.py:{value}" for name, value in own.items()}, "border": "ignore", "own.depth": 1}
    assert train.main(command("--out", "run", **changed, **{"own.strength": 3.5})) == 0, capsys.readouterr().err


def test_predict_runs_the_runs_copy_and_only_if_it_is_trusted(mine, tmp_path, capsys):
    assert train.main(command("--set", "model=mine.py:TinyNet", "--out", "run")) == 0
    mine.write_text("raise RuntimeError('the changed original was run')")
    arguments = ["--checkpoint", "run", "--split", "val", "--out", "masks"]
    capsys.readouterr()
    assert predict.main(arguments) == 2
    assert "brings code of its own, mine.py (sha256 " in (said := capsys.readouterr().err)
    assert "--trust-code" in said
    assert not (tmp_path / "masks").exists()
    assert predict.main([*arguments, "--trust-code"]) == 0
    assert len(list((tmp_path / "masks/masks").iterdir())) == 128


def test_replay_runs_the_capsules_copy_and_only_if_it_is_trusted(mine, capsys):
    broken = ["--set", "amp=true", "--set", "loss_scale_init=1e30", "--set", "model=mine.py:TinyNet"]
    assert train.main(command(*broken, "--out", "run", train_limit=64)) == 1
    assert "replay run/checkpoints/capsule --trust-code" in capsys.readouterr().out
    mine.unlink()
    assert replay.main(["run/checkpoints/capsule"]) == 2
    assert "--trust-code" in capsys.readouterr().err
    assert replay.main(["run/checkpoints/capsule", "--trust-code"]) == 0
    assert "bit for bit" in capsys.readouterr().out


def test_resume_goes_on_with_the_copy_and_says_that_the_original_changed(mine, tmp_path, capsys):
    config = own_config(model="mine.py:TinyNet")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.json").write_text(json.dumps(config.to_dict()))
    write_json_line(tmp_path / "run/result.json", line_of(next(run(config, out=tmp_path / "run/checkpoints"))))
    mine.write_text(MINE.replace("nn.ReLU()", "nn.Tanh()"))
    capsys.readouterr()
    assert train.main(["--resume", "--set", "model=mine.py:TinyNet", "--out", "run"]) == 0
    assert f"{mine} has changed since (sha256 {OwnFile(MINE).sha256[:12]} then" in capsys.readouterr().err
    assert train.main(["--resume", "--set", "own.depth=2", "--out", "run"]) == 2
    assert "own.depth=None there, 2 here" in capsys.readouterr().err


# What is refused, before anything is written


@pytest.mark.parametrize(
    ("code", "setting", "said"),
    [
        (None, "model=nowhere.py:Net", "there is no file nowhere.py in "),
        (None, "model=mine.py:Nett", "it has no Nett; functions and classes in it: TinyNet"),
        ("def f(:\n", "model=mine.py:f", "mine.py, line 1: SyntaxError"),
        ("import torch\nx = 1 / 0\n", "model=mine.py:f", "mine.py, line 2, in <module>: ZeroDivisionError"),
        ("import blocks\n", "model=mine.py:f", "mine.py, line 1: imports blocks, which lies beside it"),
        ("def f():\n    return 3\n", "model=mine.py:f", "mine.py:f gives a int; wanted: a torch.nn.Module"),
        ("def f(hight):\n    return 3\n", "model=mine.py:f", "line 1: nothing gives its parameter 'hight'"),
        (
            "from torch import nn\ndef f():\n    return nn.Conv2d(3, 2, 1)\n",
            "model=mine.py:f",
            "mine.py:f gives [2, 2, 32, 32] for images [2, 3, 32, 32]; wanted: logits [2, 1, 32, 32]",
        ),
        (
            "from torch import nn\nclass Net(nn.Conv2d):\n    def __init__(self):\n        super().__init__(3, 1, 1)\n"
            "    def forward(self, x):\n        return super().forward(x[:, :2])\n",
            "model=mine.py:Net",
            "mine.py, line 6, in Net.forward: RuntimeError: ",
        ),
        ("def loss(outputs, targets):\n    return 3.0\n", "loss=mine.py:loss", "mine.py:loss gives float; wanted"),
        (
            "def loss(outputs, targets):\n    return (outputs - targets).abs()\n",
            "loss=mine.py:loss",
            "mine.py:loss gives [2, 1, 32, 32]; wanted: a tensor of one number",
        ),
        (
            "def loss(outputs, targets):\n    return (targets - targets).mean()\n",
            "loss=mine.py:loss",
            "gives a number without a gradient",
        ),
        ("def adam(parameters):\n    return 1\n", "optimizer=mine.py:adam", "wanted: a torch.optim.Optimizer"),
        ("def f(optimizer, num_steps):\n    return 1\n", "schedule=mine.py:f", "wanted: a schedule of torch.optim"),
        (
            "import albumentations as A\ndef f():\n    return [A.ToFloat(p=1)]\n",
            "augment=mine.py:f",
            "makes an image of float32 [32, 32, 3]; wanted: uint8 [32, 32, 3]",
        ),
        (
            "def f():\n    return lambda image, mask, rng: (image, mask * 7)\n",
            "augment=mine.py:f",
            "makes a mask with [7, 14, 21]; a mask holds 1 object",
        ),
        (
            "def f():\n    return lambda image, mask, rng: (image / 255, mask)\n",
            "augment=mine.py:f",
            "makes an image of float64 [32, 32, 3]; wanted: uint8 [32, 32, 3]",
        ),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(code, setting, said, mine, tmp_path, capsys):
    if code is not None:
        mine.write_text(code)
    (tmp_path / "blocks.py").write_text("")
    arguments = ["--data", "drawn", "--set", "image_size=32", "--set", "epochs=1", "--set", setting, "--out", "run"]
    assert train.main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert said in lines[0]
    assert not (tmp_path / "run").exists()


def test_a_setting_of_ones_own_that_nothing_reads_is_refused(mine):
    with pytest.raises(OwnError, match=r"own.dpeth is read by nothing: mine.py:TinyNet take depth, width"):
        check_own_settings([own_config(model="mine.py:TinyNet", **{"own.dpeth": 3})])
    check_own_settings([own_config(model="mine.py:of_config", **{"own.dpeth": 3})])  # it may read any


def test_a_loss_of_logits_has_the_logits_head_unless_another_is_asked_for(mine):
    config = own_config(loss="mine.py:of_logits")
    assert config.head == "logits"
    outputs, targets = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    assert float(build_loss(config)(outputs, targets, torch.ones_like(targets))) == pytest.approx(math.log(2))
    with pytest.raises(OwnError, match="takes logits, and head=sigmoid gives probabilities"):
        build_loss(own_config(loss="mine.py:of_logits", head="sigmoid"))
    assert own_config(loss="mine.py:tversky").head == "sigmoid"


def test_a_loss_that_cannot_leave_pixels_out_is_refused_where_the_border_is_ignored(mine):
    with pytest.raises(OwnError, match="has no parameter `valid`"):
        build_loss(own_config(loss="mine.py:tversky", border="ignore"))
    build_loss(own_config(loss="mine.py:counted", border="ignore"))


def test_a_sigmoid_at_the_end_of_ones_own_network_is_said(mine):
    mine.write_text("from torch import nn\ndef f():\n    return nn.Sequential(nn.Conv2d(3, 1, 1), nn.Sigmoid())\n")
    (note,) = rehearse(own_config(model="mine.py:f"))
    assert "gives values from 0 to 1 only" in note


def test_a_rehearsal_leaves_random_numbers_as_they_were(mine):
    before = torch.get_rng_state()
    assert rehearse(own_config(model="mine.py:TinyNet")) == []
    assert torch.equal(torch.get_rng_state(), before)


# What it is made of


def test_the_network_stands_between_images_and_head(mine):
    images = torch.randn(2, 3, 16, 16)
    for head, activation in (("sigmoid", torch.sigmoid), ("logits", lambda logits: logits)):
        model = build_model(own_config(model="mine.py:TinyNet", head=head)).eval()
        assert torch.equal(model(images), activation(model.network(images)))


def test_parameters_are_settings_by_their_names(mine):
    model = build_model(own_config(model="mine.py:TinyNet", width=5, **{"own.depth": 3}))
    assert len(model.network.layers) == 2 + 3 * 3 + 1
    assert model.network.layers[0].out_channels == 5


def test_a_changed_file_is_another_module(mine):
    first = own_config(model="mine.py:TinyNet")
    mine.write_text(MINE.replace("nn.Conv2d(width, 1, 1)", "nn.Conv2d(width, 1, 3, padding=1)"))
    second = own_config(model="mine.py:TinyNet")
    one, other = (load("mine.py:TinyNet", config.code) for config in (first, second))
    assert one.__module__ != other.__module__
    assert sys.modules[one.__module__].TinyNet is one
    assert build_model(first).network.layers[-1].kernel_size == (1, 1)


def test_a_configuration_is_read_back_with_its_code(mine):
    config = own_config(model="mine.py:TinyNet", **{"own.depth": 3, "own.tau": 0.5, "own.deep": True})
    assert TrialConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_code_that_was_changed_where_it_was_written_down_is_refused(mine):
    written = own_config(model="mine.py:TinyNet").to_dict()
    written["code"]["mine.py"]["text"] += "\nimport os\n"
    with pytest.raises(ValueError, match="not as it was written down"):
        TrialConfig.from_dict(written)


def test_a_configuration_without_the_file_is_refused():
    with pytest.raises(ValueError, match=r"model=mine.py:Net: the configuration holds no mine.py"):
        TrialConfig.from_dict({"model": "mine.py:Net"})


def test_two_files_of_one_name_are_refused(mine, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.py").write_text("")
    with pytest.raises(OwnError, match="two files of one name"):
        read_files([Path("mine.py"), Path("other/mine.py")])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("1e-3", 1e-3),
        ("true", True),
        ("False", False),
        ("resnet18", "resnet18"),
        ("nan", "nan"),
    ],
)
def test_own_settings_are_typed_from_their_text(text, value):
    parsed = parse_settings([f"own.depth={text}"])["own.depth"]
    assert (type(parsed), parsed) == (type(value), value)
    assert parse_setting(text) == value


def test_a_setting_of_ones_own_does_not_bear_the_name_of_ours():
    with pytest.raises(ValueError, match=r"own.lr: lr is a setting already"):
        parse_settings(["own.lr=3"])


def test_an_unknown_setting_says_how_ones_own_are_called():
    with pytest.raises(ValueError, match=r"a setting of your own code is own.depth"):
        parse_settings(["depth=3"])


def test_an_augmentation_of_ones_own_draws_from_the_samples_generator(mine):
    augment = build_augment(own_config(augment="mine.py:noisy"))
    image, mask = np.full((8, 8, 3), 100, np.uint8), np.ones((8, 8), np.uint8)
    first, again, other = (augment(image, mask, seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_list_of_albumentations_is_an_augmentation(mine):
    augment = build_augment(own_config(augment="mine.py:of_albumentations"))
    assert isinstance(augment, Pipeline)
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    assert np.array_equal(augment(image, image[..., 0], 0)[0], image[:, ::-1])


def test_an_augmentation_that_needs_colours_is_refused_for_five_channels(mine):
    mine.write_text("import albumentations as A\ndef f():\n    return [A.ColorJitter(p=1)]\n")
    rehearse(own_config(augment="mine.py:f"))
    config = own_config(augment="mine.py:f", data="folder", in_channels=5)
    with pytest.raises(OwnError, match=r"mine.py:f: TypeError: ColorJitter transformation expects 1-channel or 3"):
        rehearse(config)


def test_what_fails_in_evaluation_is_found_before_anything_starts(mine):
    call = "        return self.layers(images)"
    mine.write_text(MINE.replace(call, f"        assert self.training\n{call}"))
    with pytest.raises(OwnError, match=r"mine.py, line 15, in TinyNet.forward: AssertionError"):
        rehearse(own_config(model="mine.py:TinyNet"))


def test_what_fails_later_is_a_failed_run_that_names_the_line(mine, tmp_path, capsys):
    code = [
        "COUNT = []",
        "def loss(logits, targets):",
        "    COUNT.append(1)",
        "    return logits.mean() / [1][len(COUNT) > 3]",
    ]
    mine.write_text("\n".join(code))
    assert train.main(command("--set", "loss=mine.py:loss", "--out", "run", epochs=3)) == 2
    assert "mine.py, line 4, in loss: IndexError" in capsys.readouterr().err
    outcome = json.loads((tmp_path / "run/outcome.json").read_text())
    assert outcome["outcome"] == "failed"
    assert "line 4, in loss: IndexError" in outcome["error_text"]
