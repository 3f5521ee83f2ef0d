"""The instrument in a training loop of one's own: what it sees, what it says, and what it leaves as it was."""

import dataclasses
import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import segstudy
from trials.numerics import capsule
from trials.numerics.explaining.record import read
from trials.numerics.precision import autocast

CPU = torch.device("cpu")


def network() -> nn.Module:
    first, second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
    return nn.Sequential(first, nn.BatchNorm2d(4), nn.ReLU(), second, nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))


def loss_of(model, batch):
    return F.binary_cross_entropy_with_logits(model(batch["image"]), batch["mask"])


def batch_of(step: int, size: int = 8) -> dict:
    generator = torch.Generator().manual_seed(step)
    image = torch.randn(4, 3, size, size, generator=generator)
    return {"image": image, "mask": (image[:, :1] > 0).float(), "name": ["a", "b", "c", "d"]}


@dataclasses.dataclass
class Loop:
    """A plain loop under float16, as CUDA has it, whose layer `grows` becomes eight times as large each step."""

    out: object
    model: nn.Module = dataclasses.field(default_factory=network)
    grows: str = "3"
    autocast: object = lambda: autocast("cpu", torch.float16)
    scaled: bool = True
    options: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.scaler = torch.amp.GradScaler("cpu", enabled=self.scaled)
        self.watch = segstudy.watch(self.model, self.optimizer, scaler=self.scaler, out=self.out, **self.options)

    def run(self, num_steps: int, accumulate: int = 1):
        for step in range(1, num_steps + 1):
            self.grow(step)
            batch = batch_of(step)
            with self.watch.step(batch):
                with self.autocast():
                    loss = loss_of(self.model, batch) / accumulate
                self.scaler.scale(loss).backward()
                if step % accumulate == 0:
                    self.scaler.step(self.optimizer)
                    self.scaler.update()
                    self.optimizer.zero_grad()
            if self.watch.broken:
                break
        return self.watch

    @torch.no_grad()
    def grow(self, step: int):
        if self.grows:
            self.model.get_submodule(self.grows).weight.mul_(8)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def overflown(tmp_path_factory):
    torch.manual_seed(0)
    loop = Loop(tmp_path_factory.mktemp("loop") / "mine")
    loop.run(30)
    return loop, loop.watch.explain(loss=loss_of)


def test_an_overflow_in_a_plain_loop_is_explained_by_cause_place_and_remedy(overflown):
    found = overflown[1].record.diagnosis
    assert (found.cause, found.blame, found.phase, found.module) == ("forward_overflow", "amp", "forward", "3")
    assert "float32" in [remedy.name for remedy in found.remedies if remedy.worked]
    assert found.float32_modules == ("3",)


def test_the_explanation_is_written_as_divergence_json(overflown):
    loop, explanation = overflown
    assert read(loop.out) == explanation.record
    assert json.loads((loop.out / "divergence.json").read_text())["cause"] == "forward_overflow"


def test_the_printed_explanation_names_cause_place_headroom_and_remedies(overflown):
    said = str(overflown[1])
    assert "cause       forward_overflow, forward, 3" in said
    assert "with float32" in said
    assert "of 65504" in said
    assert "repeated    bit for bit" in said


def test_torchs_own_autocast_on_a_cpu_is_explained_too(tmp_path):
    loop = Loop(tmp_path / "mine", autocast=lambda: torch.autocast("cpu", torch.float16))
    found = loop.run(30).explain(loss=loss_of)
    assert (found.record.diagnosis.cause, found.record.diagnosis.module) == ("forward_overflow", "3")
    assert found.repeated.startswith("repeated    bit for bit")


def test_a_healthy_loop_is_not_broken_and_trains_as_without_a_watch(tmp_path):
    watched = Loop(tmp_path / "mine", grows="")
    watched.run(12)
    torch.manual_seed(0)
    alone = Loop(tmp_path / "other", grows="")
    for step in range(1, 13):
        batch = batch_of(step)
        with alone.autocast():
            loss = loss_of(alone.model, batch)
        alone.scaler.scale(loss).backward()
        alone.scaler.step(alone.optimizer)
        alone.scaler.update()
        alone.optimizer.zero_grad()
    assert not watched.watch.broken
    assert all(torch.equal(a, b) for a, b in zip(watched.model.parameters(), alone.model.parameters(), strict=True))


def test_every_object_of_the_loop_is_as_it_was_after_a_step(tmp_path):
    backward = torch.autograd.backward
    loop = Loop(tmp_path / "mine", grows="")
    loop.run(2)
    assert torch.autograd.backward is backward
    assert not {"scale", "step"} & set(vars(loop.scaler))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in loop.model.modules())
    assert not loop.optimizer._optimizer_step_pre_hooks


def test_without_a_loss_what_was_seen_is_told_and_what_is_missing_said(tmp_path):
    explanation = Loop(tmp_path / "mine").run(30).explain()
    assert explanation.record.diagnosis.cause == "undetermined"
    assert "no loss was given" in str(explanation)
    assert "the network's outputs are not finite" in str(explanation)


def test_a_loss_that_is_not_finite_in_float32_is_the_losss_own(tmp_path):
    def log_loss(model, batch):
        return -(model(batch["image"]).sigmoid() * 0 * batch["mask"]).mean().log()

    loop = Loop(tmp_path / "mine", grows="", scaled=False)
    batch = batch_of(1)
    with loop.watch.step(batch):
        log_loss(loop.model, batch).backward()
        loop.optimizer.step()
    found = loop.watch.explain(loss=log_loss).record
    assert (found.where, found.diagnosis.cause) == ("loss", "loss_domain")


def test_an_error_in_the_loop_is_passed_on_and_explained(tmp_path):
    loop = Loop(tmp_path / "mine", grows="", scaled=False)

    def refusing(model, batch):
        return F.binary_cross_entropy(model(batch["image"]).sigmoid(), batch["mask"])

    batch = batch_of(1)
    batch["image"][0, 0, 0, 0] = float("nan")
    with pytest.raises(RuntimeError, match="between 0 and 1"), loop.watch.step(batch):
        refusing(loop.model, batch).backward()
    assert loop.watch.broken
    assert loop.watch.explain().record.diagnosis.cause == "bad_data"


def test_a_late_reader_tells_the_same_event_at_most_that_many_steps_later(tmp_path):
    early = Loop(tmp_path / "early").run(60)
    torch.manual_seed(0)
    late = Loop(tmp_path / "late", options={"steps_late": 16}).run(60)
    assert early.event == late.event
    assert late.num_steps - late.event.step <= 16
    states = [capsule.read(tmp_path / name / "capsule").state.tensors for name in ("early", "late")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_another_runs_divergence_is_not_overwritten(overflown):
    loop = overflown[0]
    with pytest.raises(ValueError, match=r"holds another run's divergence.json and capsule; give out= a new folder"):
        segstudy.watch(loop.model, loop.optimizer, out=loop.out)


def test_nothing_is_explained_before_it_broke(tmp_path):
    watch = Loop(tmp_path / "mine", grows="").run(1)
    with pytest.raises(RuntimeError, match="nothing has gone wrong in 1 steps"):
        watch.explain()


MINE = """
import torch.nn.functional as F
from torch import nn

def build():
    first, second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
    return nn.Sequential(first, nn.BatchNorm2d(4), nn.ReLU(), second, nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))

def other():
    return nn.Linear(3, 4)

def loss(model, batch):
    return F.binary_cross_entropy_with_logits(model(batch["image"]), batch["mask"])
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_a_capsule_is_explained_elsewhere_from_a_file_with_model_and_loss(overflown, mine, capsys):
    capsule_folder = str(overflown[0].out / "capsule")
    assert segstudy.main(["explain", capsule_folder, "--model", f"{mine}:build", "--loss", f"{mine}:loss"]) == 0
    said = capsys.readouterr().out
    assert "cause       forward_overflow, forward, 3" in said
    assert "repeated    bit for bit" in said


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("mine.py", "it takes FILE.py:NAME"),
        ("mine.py:built", "has no function built"),
        ("yours.py:build", "no file"),
    ],
)
def test_a_wrong_file_or_name_is_refused_in_one_line(overflown, mine, model, said, capsys, monkeypatch):
    monkeypatch.chdir(mine.parent)
    assert segstudy.main(["explain", str(overflown[0].out / "capsule"), "--model", model]) == 2
    assert said in capsys.readouterr().err


def test_another_model_than_the_captured_one_is_told_by_its_parameters(overflown, mine, capsys):
    arguments = ["--model", f"{mine}:other", "--loss", f"{mine}:loss"]
    assert segstudy.main(["explain", str(overflown[0].out / "capsule"), *arguments]) == 0
    said = capsys.readouterr().out
    assert "the model is not the captured one (only here: bias, weight; only in the capsule: 0.bias" in said


def test_a_loops_capsule_is_refused_by_the_replay_of_trials(overflown, capsys):
    from trials import replay

    assert replay.main([str(overflown[0].out / "capsule")]) == 2
    assert "python -m segstudy explain" in capsys.readouterr().err


def test_a_validation_loss_far_above_its_best_is_explained_by_batchnorms_statistics(tmp_path):
    loop = Loop(tmp_path / "mine", grows="", scaled=False)
    batch = batch_of(1)

    def validated():
        loop.model.eval()
        with torch.no_grad():
            loop.watch.validation(loss_of(loop.model, batch), batch)
        loop.model.train()

    loop.run(30)
    validated()
    for _ in range(2):
        with torch.no_grad():
            loop.model[4].running_mean.fill_(1e5)
        loop.run(1)
        validated()
    found = loop.watch.explain(loss=loss_of).record
    assert (found.where, found.diagnosis.cause) == ("val_loss", "running_stats_explosion")
    assert found.diagnosis.module == "4"


def test_a_loss_scale_under_which_gradients_vanish_breaks_the_loop(tmp_path):
    loop = Loop(tmp_path / "mine", grows="")
    loop.run(2)
    loop.scaler.update(new_scale=2.0**-30)
    loop.run(2)
    found = loop.watch.explain(loss=loss_of).record
    assert (found.where, found.diagnosis.cause) == ("loss_scale", "scale_collapse")


def test_fifty_skipped_steps_in_a_row_break_the_loop(tmp_path):
    loop = Loop(tmp_path / "mine", grows="")
    loop.run(1)
    loop.scaler.update(new_scale=2.0**100)
    watch = loop.run(60)
    assert (watch.event.where, watch.num_steps) == ("skipped_steps", 51)


def test_a_model_without_weights_and_what_is_no_model_are_refused(tmp_path):
    optimizer = torch.optim.SGD(network().parameters(), lr=0.1)
    with pytest.raises(ValueError, match="has no parameters yet"):
        segstudy.watch(nn.ReLU(), optimizer, out=tmp_path / "a")
    with pytest.raises(ValueError, match=r"model is str; give an nn.Module"):
        segstudy.watch("net", optimizer, out=tmp_path / "b")
    with pytest.raises(ValueError, match=r"optimizer is str; give a torch.optim.Optimizer"):
        segstudy.watch(network(), "adam", out=tmp_path / "c")
