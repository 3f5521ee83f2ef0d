"""Faults of BatchNorm's running statistics: values that are not finite, and finite ones far from the batches'."""

from benchmarks.faults.fault import Change, Fault, Truth, each_step, make, once
from trials.state import State

NAN, INF = float("nan"), float("inf")
UNET, RESNET = "unet", "resnet34_unet"


def poisoned_batchnorm() -> list[Fault]:
    """One forward pass left inf or NaN in a BatchNorm's statistics; training does not read them and goes on."""
    amp, bilinear = dict(amp=True), dict(upsample="bilinear")
    return [
        poisoned(UNET, "encoder.0.2", 4, "running_mean", NAN),
        poisoned(UNET, "decoder.blocks.2.5", 120, "running_mean", NAN, **amp),
        poisoned(RESNET, "encoder.2.3.block.2", 5, "running_mean", NAN, **amp),
        poisoned(UNET, "decoder.upsamplers.1.1", 7, "running_var", INF),
        poisoned(RESNET, "stem.2", 101, "running_var", INF),
        poisoned(RESNET, "decoder.blocks.0.2", 107, "running_var", INF, **amp, **bilinear),
        poisoned(UNET, "decoder.blocks.0.2", 8, "running_mean", -INF, channels=1, **bilinear),
        poisoned(UNET, "encoder.1.5", 130, "running_mean", -INF, channels=1),
        poisoned(RESNET, "decoder.upsamplers.3.1", 6, "running_mean", -INF, channels=1, **amp),
        poisoned(UNET, "decoder.blocks.3.5", 106, "running_var", NAN, channels=1, **amp),
        poisoned(RESNET, "encoder.0.0.block.2", 3, "running_var", NAN, channels=1),
    ]


def poisoned(
    model: str, module: str, first_step: int, buffer: str, value: float, channels: int | None = None, **config
) -> Fault:
    """A buffer of a BatchNorm becomes `value` in its last channels, or in all."""

    def change(state: State) -> None:
        statistics = state.model.get_submodule(module).get_buffer(buffer)
        statistics[-(channels or len(statistics)) :] = value

    word = f"{value:g}".replace("-", "minus_")
    truth = Truth(f"{buffer}_{word}", "poisoned_batchnorm", "running_statistics", module)
    return make(truth, first_step, once(first_step, change), module, model=model, **config)


def running_stats_explosion() -> list[Fault]:
    """Statistics that are finite, but far from the batches': validation, which reads them, explodes; training not.

    The comparison is made at the ends of epochs, and needs an earlier one to compare with: epochs are short.
    """
    amp, bilinear = dict(amp=True), dict(upsample="bilinear")
    return [
        mean_offset(UNET, "encoder.0.5", 9, 100.0),
        mean_offset(UNET, "decoder.blocks.1.2", 120, 1000.0, **amp),
        mean_offset(RESNET, "last_step.2", 10, 1000.0, **amp),
        mean_offset(RESNET, "decoder.blocks.3.5", 105, 300.0, **bilinear),
        channel_offset(UNET, "decoder.blocks.2.5", 9, 1e4, **amp),
        channel_offset(UNET, "encoder.2.5", 115, 1e4),
        channel_offset(RESNET, "encoder.0.1.block.2", 10, 1e5),
        channel_offset(RESNET, "encoder.2.4.block.5", 104, 1e4, **amp),
        mean_multiplied(UNET, "encoder.1.2", 10, 1e5, **bilinear),
        mean_multiplied(UNET, "decoder.upsamplers.2.1", 104, 1e3),
        mean_multiplied(RESNET, "encoder.0.1.block.5", 9, 1e6, **amp),
        other_domain(UNET, "encoder.0.5", 10, **amp),
        other_domain(RESNET, "encoder.1.3.block.2", 106),
        var_vanishes(UNET, "encoder.1.5", 110, max_val_loss_ratio=2.0),
        var_vanishes(UNET, "decoder.upsamplers.1.1", 121, **amp, max_val_loss_ratio=2.0),
        var_vanishes(RESNET, "decoder.upsamplers.2.1", 117, max_val_loss_ratio=1.5),
    ]


def mean_offset(model: str, module: str, first_step: int, offset: float, **config) -> Fault:
    """The running mean far above the batches' in every second channel, far below it in the others."""

    def change(state: State) -> None:
        mean = state.model.get_submodule(module).running_mean
        mean[0::2], mean[1::2] = offset, -offset

    return _exploded("running_mean_offset", model, module, first_step, change, **config)


def channel_offset(model: str, module: str, first_step: int, offset: float, **config) -> Fault:
    """The running mean far off in one channel alone."""

    def change(state: State) -> None:
        state.model.get_submodule(module).running_mean[0] = offset

    return _exploded("running_mean_channel_offset", model, module, first_step, change, **config)


def var_vanishes(model: str, module: str, first_step: int, **config) -> Fault:
    """The running variance of blank pictures: momentum brings a tenth of the right one back, no more."""

    def change(state: State) -> None:
        state.model.get_submodule(module).running_var.fill_(1e-8)

    return _exploded("running_var_vanishes", model, module, first_step, change, **config)


def mean_multiplied(model: str, module: str, first_step: int, factor: float, **config) -> Fault:
    """The running mean a large multiple of the batches' mean, channel by channel."""

    def change(state: State) -> None:
        norm = state.model.get_submodule(module)
        if state.step == first_step:
            norm.running_mean.mul_(factor)
        else:
            norm.running_mean.div_(0.9)  # what momentum took out

    return _exploded("running_mean_multiplied", model, module, first_step, change, **config)


def other_domain(model: str, module: str, first_step: int, **config) -> Fault:
    """Statistics of another domain: those of pictures of 0 to 255 that were not normalised."""

    def change(state: State) -> None:
        norm = state.model.get_submodule(module)
        norm.running_mean.fill_(255.0)
        norm.running_var.fill_(64.0)

    return _exploded("running_stats_of_other_domain", model, module, first_step, change, **config)


def _exploded(kind: str, model: str, module: str, first_step: int, change: Change, **config) -> Fault:
    truth = Truth(kind, "running_stats_explosion", "running_statistics", module)
    config = dict(train_limit=64, max_val_loss_ratio=3.0) | config
    return make(truth, first_step, each_step(change), module, model=model, **config)
