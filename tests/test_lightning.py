"""segstudy.LightningCallback in Lightning's own trainer."""

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

pytest.importorskip("lightning", reason="lightning is not installed (pip install 'segstudy[lightning]')")

import lightning.pytorch as pl
from lightning.pytorch.plugins import MixedPrecision

import segstudy

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning's own: workers, loggers, devices


class Module(pl.LightningModule):
    """A small network whose convolution `middle` becomes `growth` times as large with each step."""

    def __init__(self, growth: float = 1.0):
        super().__init__()
        self.growth = growth
        self.first, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.middle, self.norm2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 1, 1)
        self.criterion = nn.BCEWithLogitsLoss()

    def forward(self, images):
        return self.last(self.norm2(self.middle(F.relu(self.norm(self.first(images))))))

    def training_step(self, batch, batch_idx):
        loss = self.criterion(self(batch["image"]), batch["mask"])
        self.log("loss", loss)
        return loss

    def on_train_batch_start(self, batch, batch_idx):
        with torch.no_grad():
            self.middle.weight.mul_(self.growth)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def fitted(module, folder, **options):
    torch.manual_seed(0)
    images = torch.randn(64, 3, 8, 8)
    samples = [{"image": image, "mask": (image[:1] > 0).float()} for image in images]
    callback = segstudy.LightningCallback(folder / "mine", budget_s=20.0)
    scaler = torch.amp.GradScaler("cpu")
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[callback],
        plugins=[MixedPrecision("16-mixed", "cpu", scaler=scaler)],
        default_root_dir=folder,
        **quiet,
        **options,
    )
    trainer.fit(module, torch.utils.data.DataLoader(samples, batch_size=4))
    return callback, trainer


@pytest.fixture(scope="module")
def overflown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lightning")
    return (*fitted(Module(growth=8.0), folder), folder)


class OwnAutocast(Module):
    """The same, whose training step opens autocast itself."""

    def training_step(self, batch, batch_idx):
        with torch.autocast("cpu", torch.float16):
            return super().training_step(batch, batch_idx)


def test_a_step_that_opens_autocast_itself_is_answered_with_the_argument_that_helps(tmp_path, capsys):
    callback, _ = fitted(OwnAutocast(growth=8.0), tmp_path)
    assert callback.explanation.record.diagnosis.cause == "undetermined"
    assert "LightningCallback(out=..., loss=lambda module, batch: ...)" in capsys.readouterr().err


def test_a_training_that_overflows_is_stopped_and_explained_without_a_loss_given(overflown):
    callback, trainer, folder = overflown
    found = callback.explanation.record.diagnosis
    assert (found.cause, found.module) == ("forward_overflow", "middle")
    assert trainer.global_step < 16
    assert json.loads((folder / "mine/divergence.json").read_text())["cause"] == "forward_overflow"


def test_the_step_repeats_the_recorded_one_bit_for_bit(overflown):
    assert overflown[0].explanation.repeated.startswith("repeated    bit for bit")


def test_a_healthy_training_goes_to_its_end_without_a_word(tmp_path):
    callback, trainer = fitted(Module(), tmp_path)
    assert callback.explanation is None
    assert callback.watch.num_steps == 16
    assert trainer.global_step == 16


def test_accumulated_gradients_are_one_update(tmp_path):
    callback, _ = fitted(Module(growth=8.0), tmp_path, accumulate_grad_batches=2)
    assert callback.explanation.record.diagnosis.cause == "forward_overflow"
