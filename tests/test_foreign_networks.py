"""Networks of other packages, unchanged, and loops of other shapes under segstudy.watch."""

import copy
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import segstudy
from trials.numerics import capsule
from trials.numerics.precision import autocast

BROKEN_BY = 1e6  # the weights of one layer, times this, before the second step


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def watched(model, batch, loss_of, out, *, grows=None, steps=4, optimizer=None, scaled=True, **options):
    """A plain loop under float16; the layer `grows` is suddenly too large in the second step."""
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu", enabled=scaled)
    watch = segstudy.watch(model, optimizer, scaler=scaler, out=out / "mine", **options)
    for step in range(1, steps + 1):
        if grows and step == 2:
            with torch.no_grad():
                grows.weight.mul_(BROKEN_BY)
        with watch.step(batch):
            with autocast("cpu", torch.float16):
                loss = loss_of(model, batch)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        if watch.broken:
            break
    return watch


def binary_batch(num: int = 4):
    images = torch.randn(num, 3, 32, 32)
    return {"image": images, "mask": (images[:, :1] > 0).float()}


def class_batch():
    images = torch.randn(4, 3, 32, 32)
    return images, (images.sum(1) > 0).long()


def binary_loss(model, batch):
    return F.binary_cross_entropy_with_logits(model(batch["image"]), batch["mask"])


def torchvision_loss(model, batch):
    images, classes = batch
    return F.cross_entropy(model(images)["out"], classes, ignore_index=255)


def smp():
    return pytest.importorskip("segmentation_models_pytorch", reason="segmentation-models-pytorch is not installed")


def smp_unet():
    return smp().Unet("resnet18", encoder_weights=None, encoder_depth=3, decoder_channels=(16, 8, 8))


def deeplab_v3_plus():
    return smp().DeepLabV3Plus("resnet18", encoder_weights=None, decoder_channels=16, decoder_atrous_rates=(2, 3, 4))


def segformer():
    return smp().Segformer("resnet18", encoder_weights=None, decoder_segmentation_channels=16)


def torchvision(name):
    from torchvision.models import segmentation

    def build():
        return getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=3)

    return build


class TinyTransformer(nn.Module):
    """Sequences B,T,16 -> logits B,5."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, nhead=2, dim_feedforward=32, dropout=0.1, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, num_layers=2), nn.Linear(16, 5)

    def forward(self, sequences):
        return self.head(self.encoder(sequences).mean(1))


NETWORKS = {
    "smp_unet": (smp_unet, binary_batch, binary_loss, "decoder.blocks.0.conv1.0"),
    "deeplab_v3_plus": (deeplab_v3_plus, binary_batch, binary_loss, "decoder.block1.0"),
    "segformer": (segformer, binary_batch, binary_loss, "decoder.fuse_stage.0"),
    "deeplab_v3": (torchvision("deeplabv3_mobilenet_v3_large"), class_batch, torchvision_loss, "classifier.1"),
    "lraspp": (torchvision("lraspp_mobilenet_v3_large"), class_batch, torchvision_loss, "classifier.cbr.0"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_an_overflow_in_a_network_of_another_package_is_found_in_its_layer(name, tmp_path):
    build, batch_of, loss_of, layer = NETWORKS[name]
    model = build()
    watch = watched(model, batch_of(), loss_of, tmp_path, grows=model.get_submodule(layer))
    explanation = watch.explain(loss=loss_of, budget_s=0.0)
    found = explanation.record.diagnosis
    assert (found.cause, found.phase, found.module) == ("forward_overflow", "forward", layer)
    assert explanation.repeated.startswith("repeated    bit for bit")


def test_an_overflow_in_a_transformer_with_dropout_is_found_in_its_layer(tmp_path):
    model = TinyTransformer()
    batch = torch.randn(4, 8, 16), torch.tensor([0, 1, 2, 3])

    def loss_of(model, batch):
        return F.cross_entropy(model(batch[0]), batch[1])

    watch = watched(model, batch, loss_of, tmp_path, grows=model.encoder.layers[1].linear1)
    explanation = watch.explain(loss=loss_of, budget_s=30.0)
    found = explanation.record.diagnosis
    assert (found.cause, found.module) == ("forward_overflow", "encoder.layers.1.linear1")
    assert explanation.repeated.startswith("repeated    bit for bit")  # the dropout draws what it drew


def test_attention_that_overflows_between_its_layers_is_named_as_a_whole(tmp_path):
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.query, self.key, self.norm = nn.Linear(8, 8), nn.Linear(8, 8), nn.LayerNorm(8)

        def forward(self, values):
            scores = self.query(values) @ self.key(values).transpose(1, 2)
            return self.norm(values + torch.softmax(scores / 8, -1) @ values)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.head = Attention(), nn.Linear(8, 1)

        def forward(self, values):
            return self.head(self.attention(values))

    model = Net()
    with torch.no_grad():
        model.attention.query.weight.copy_(torch.eye(8) * 200)
        model.attention.key.weight.copy_(torch.eye(8) * 200)

    def loss_of(model, batch):
        return model(batch).square().mean()

    watch = watched(model, torch.full((2, 4, 8), 1.5) + torch.randn(2, 4, 8), loss_of, tmp_path)
    found = watch.explain(loss=loss_of, budget_s=30.0).record.diagnosis
    assert (found.cause, found.module, found.float32_modules) == ("forward_overflow", "attention", ("attention",))


def small_network():
    first, second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
    return nn.Sequential(first, nn.BatchNorm2d(4), nn.ReLU(), second, nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))


def test_channels_last_is_kept_and_repeated(tmp_path):
    model = small_network().to(memory_format=torch.channels_last)
    batch = binary_batch()
    batch["image"] = batch["image"].to(memory_format=torch.channels_last)
    explanation = watched(model, batch, binary_loss, tmp_path, grows=model[3]).explain(loss=binary_loss, budget_s=30.0)
    assert explanation.record.diagnosis.module == "3"
    state = capsule.read(tmp_path / "mine/capsule").state.tensors
    assert torch.equal(state["model.3.weight"], model[3].weight)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_compiled_network_is_explained_and_its_layers_are_said_not_to_be_measured(backend, tmp_path):
    if backend == "inductor" and not shutil.which("g++"):
        pytest.skip("torch.compile's inductor needs a C++ compiler")
    model = small_network()
    compiled = torch.compile(model, backend=backend)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu")
    watch = segstudy.watch(compiled, optimizer, scaler=scaler, out=tmp_path / "mine")
    batch = binary_batch()
    for step in (1, 2, 3):
        if step == 2:
            with torch.no_grad():
                model[3].weight.mul_(BROKEN_BY)
        with watch.step(batch):
            with torch.autocast("cpu", torch.float16):
                loss = binary_loss(compiled, batch)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        if watch.broken:
            break
    explanation = watch.explain(loss=binary_loss, budget_s=0.0)
    assert (explanation.record.event.step, explanation.record.diagnosis.module) == (2, "3")
    assert "layers of a compiled network" in str(explanation)


def test_tied_and_empty_parameters_and_buffers_that_are_not_saved_are_in_the_capsule(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encode, self.norm, self.decode = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 8)
            self.decode.weight = self.encode.weight
            self.empty = nn.Parameter(torch.empty(0, 3))
            self.register_buffer("shift", torch.full((8,), 0.5), persistent=False)

        def forward(self, values):
            return self.decode(self.norm(self.encode(values) + self.shift))

    model = Net()

    def loss_of(model, batch):
        return F.mse_loss(model(batch), batch)

    watch = watched(model, torch.randn(4, 8), loss_of, tmp_path, grows=model.encode)
    explanation = watch.explain(loss=loss_of, budget_s=30.0)
    assert explanation.record.diagnosis.facts.error is None
    assert explanation.repeated.startswith("repeated    bit for bit")
    state = capsule.read(tmp_path / "mine/capsule").state.tensors
    assert {"model.shift", "model.empty", "model.encode.weight"} <= state.keys()
    assert "model.decode.weight" not in state


def test_two_optimisers_of_one_backward_pass_are_explained(tmp_path):
    model = small_network()
    optimizers = [torch.optim.SGD(model[:3].parameters(), lr=0.1), torch.optim.AdamW(model[3:].parameters(), lr=1e-3)]
    scaler = torch.amp.GradScaler("cpu")
    watch = segstudy.watch(model, optimizers, scaler=scaler, out=tmp_path / "mine")
    batch = binary_batch()
    for step in (1, 2, 3):
        if step == 3:
            with torch.no_grad():
                model[3].weight.mul_(BROKEN_BY)
        with watch.step(batch):
            with autocast("cpu", torch.float16):
                loss = binary_loss(model, batch)
            scaler.scale(loss).backward()
            for optimizer in optimizers:
                scaler.step(optimizer)
            scaler.update()
            for optimizer in optimizers:
                optimizer.zero_grad()
    found = watch.explain(loss=binary_loss, budget_s=30.0).record
    assert (found.event.step, found.diagnosis.module) == (3, "3")
    assert found.diagnosis.float32_modules == ("3",)


def test_a_generator_and_a_discriminator_are_watched_and_their_re_run_is_refused_in_words(tmp_path):
    discriminator = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    networks = {"generator": nn.Linear(4, 8), "discriminator": discriminator}
    optimizers = [torch.optim.Adam(network.parameters(), lr=1e-3) for network in networks.values()]
    watch = segstudy.watch(networks, optimizers, out=tmp_path / "mine")
    for step in range(1, 6):
        real, noise = torch.randn(4, 8), torch.randn(4, 4)
        with watch.step((real, noise)):
            fake = networks["generator"](noise)
            judged = networks["discriminator"](torch.cat([real, fake.detach()]))
            F.binary_cross_entropy_with_logits(judged, torch.tensor([[1.0]] * 4 + [[0.0]] * 4)).backward()
            optimizers[1].step()
            optimizers[1].zero_grad()
            if step == 3:
                with torch.no_grad():
                    networks["generator"].weight.fill_(float("nan"))
            fake = networks["generator"](noise)
            F.binary_cross_entropy_with_logits(networks["discriminator"](fake), torch.ones(4, 1)).backward()
            optimizers[0].step()
            optimizers[0].zero_grad()
        if watch.broken:
            break
    explanation = watch.explain(loss=lambda model, batch: model["generator"](batch[1]).mean())
    assert explanation.record.event.step == 3
    assert "several backward passes" in str(explanation)
    assert "model.generator.weight" in capsule.read(tmp_path / "mine/capsule").state.tensors


@pytest.mark.parametrize("grown_at", [3, 4])  # the first batch of an update, and the second
def test_accumulated_batches_are_run_again_together(grown_at, tmp_path):
    model = small_network()
    optimizer, scaler = torch.optim.AdamW(model.parameters(), lr=1e-3), torch.amp.GradScaler("cpu")
    watch = segstudy.watch(model, optimizer, scaler=scaler, out=tmp_path / "mine")
    for step in range(1, 9):
        batch = binary_batch()
        if step == grown_at:
            with torch.no_grad():
                model[3].weight.mul_(BROKEN_BY)
        with watch.step(batch):
            with autocast("cpu", torch.float16):
                loss = binary_loss(model, batch) / 2
            scaler.scale(loss).backward()
            if step % 2 == 0:
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
        if watch.broken:
            break
    found = watch.explain(loss=binary_loss, budget_s=30.0).record.diagnosis
    assert (found.cause, found.module) == ("forward_overflow", "3")
    assert len(capsule.read(tmp_path / "mine/capsule").batches) == grown_at - 2


def test_a_batch_of_any_structure_comes_back_from_the_capsule(tmp_path):
    model = small_network()
    batch = {"pair": (torch.randn(2, 3, 8, 8), [torch.rand(2, 1, 8, 8)]), "name": "a", "weight": 0.5, "made": object()}

    def loss_of(model, batch):
        images, (masks,) = batch["pair"]
        return batch["weight"] * F.binary_cross_entropy_with_logits(model(images), masks)

    kept = copy.deepcopy(batch["pair"])
    watch = watched(model, batch, loss_of, tmp_path, grows=model[3])
    read = capsule.read(tmp_path / "mine/capsule").batches[0]
    assert torch.equal(read["pair"][0], kept[0])
    assert torch.equal(read["pair"][1][0], kept[1][0])
    assert (read["name"], read["weight"], read["made"]) == ("a", 0.5, None)
    said = str(watch.explain(loss=loss_of, budget_s=0.0))
    assert "forward_overflow" in said
    assert "a capsule cannot keep" in said


def test_a_loss_that_opens_autocast_itself_is_named(tmp_path):
    def loss_of(model, batch):
        with autocast("cpu", torch.float16):
            return binary_loss(model, batch)

    model = small_network()
    watch = watched(model, binary_batch(), loss_of, tmp_path, grows=model[3])
    assert "opens autocast itself" in str(watch.explain(loss=loss_of, budget_s=0.0))


def test_another_loss_than_the_loops_is_named(tmp_path):
    def other(model, batch):
        return 3 * binary_loss(model, batch) + 1

    model = small_network()
    watch = watched(model, binary_batch(), binary_loss, tmp_path, steps=2)
    watch.validation(float("nan"))
    assert "the loss given is" in str(watch.explain(loss=other, budget_s=0.0))
