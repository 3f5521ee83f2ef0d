"""Faults between the gradients and the weights: the loss scale, and steps of the optimiser that are too large."""

from benchmarks.faults.fault import Fault, Plant, Truth, each_step, make, once
from trials.state import State

UNET, RESNET = "unet", "resnet34_unet"


def scale_collapse() -> list[Fault]:
    """A loss scale that falls without end, or that is set where no step can be taken or no gradient survives."""
    no_floor = dict(min_loss_scale=1e-300)  # only the weights tell
    long, short = dict(train_limit=512), dict(train_limit=64)
    return [
        scale_decays(UNET, 5, 2.0**-5, "unscale", **no_floor),
        scale_decays(UNET, 110, 2.0**-8, "unscale", head="logits", **no_floor),
        scale_decays(RESNET, 8, 2.0**-8, "unscale", upsample="bilinear", **no_floor),
        scale_set("loss_scale_below_float32", UNET, 4, 2.0**-130, "unscale", optimizer="sgd", lr=0.05, **no_floor),
        scale_set("loss_scale_below_float32", RESNET, 107, 2.0**-140, "unscale", head="logits", **no_floor),
        scale_set("loss_scale_enormous", UNET, 6, 2.0**100, None, **long),
        scale_set("loss_scale_enormous", UNET, 103, 2.0**90, None, head="logits", **short),
        scale_set("loss_scale_enormous", RESNET, 9, 2.0**80, None, **short),
        scale_set("loss_scale_enormous", RESNET, 105, 2.0**100, None, **long),
        scale_set("loss_scale_vanishes", UNET, 125, 2.0**-30, None),
        scale_set("loss_scale_vanishes", RESNET, 5, 2.0**-40, None),
        scale_decays(UNET, 104, 0.5, None, kind="loss_scale_halved_each_step"),
        scale_decays(RESNET, 10, 0.25, None, kind="loss_scale_halved_each_step", head="logits"),
        backoff_too_strong(UNET, 7),
        backoff_too_strong(RESNET, 108, head="logits"),
    ]


def scale_decays(
    model: str, first_step: int, factor: float, phase: str | None, kind: str = "loss_scale_decays", **config
) -> Fault:
    """The scale falls by a factor a step although none is skipped.

    Without a floor it comes to where its float32 inverse is inf: the gradients, all 0 in half, become 0 * inf = NaN
    after they were judged finite. With the floor the run ends there.
    """
    plant = each_step(lambda state: state.scaler.update(new_scale=state.scaler.get_scale() * factor))
    return make(Truth(kind, "scale_collapse", phase), first_step, plant, model=model, amp=True, **config)


def scale_set(kind: str, model: str, first_step: int, scale: float, phase: str | None, **config) -> Fault:
    """A scale at once: under 2^-127 as above; enormous, so that every step is skipped; or under the floor."""
    plant = once(first_step, lambda state: state.scaler.update(new_scale=scale))
    return make(Truth(kind, "scale_collapse", phase), first_step, plant, model=model, amp=True, **config)


def backoff_too_strong(model: str, first_step: int, **config) -> Fault:
    """The scale grows fast and loses everything at the first step that it makes overflow."""

    def change(state: State) -> None:
        scaler = state.scaler.state_dict() | {"growth_factor": 4.0, "growth_interval": 1, "_growth_tracker": 0}
        state.scaler.load_state_dict(scaler | {"backoff_factor": 2.0**-50})

    truth = Truth("loss_scale_backoff_too_strong", "scale_collapse", None)
    return make(truth, first_step, once(first_step, change), model=model, amp=True, **config)


def optimizer_instability() -> list[Fault]:
    """Steps so large that float32 does not stand them either."""
    amp, bilinear, logits = dict(amp=True), dict(upsample="bilinear"), dict(head="logits")
    sgd = dict(optimizer="sgd", lr=0.05)
    long = dict(train_limit=512)  # no validation comes between
    return [
        lr_explodes(UNET, 4, 1e25),
        lr_explodes(RESNET, 6, 1e28, optimizer="adamw", **amp),
        lr_explodes(UNET, 120, 1e6, **sgd, **logits),
        lr_explodes(RESNET, 5, 1e6, **sgd, **logits),
        momentum_spikes(UNET, 125, 1e30, **sgd, **amp, **logits),
        momentum_spikes(RESNET, 115, 1e30, **sgd, **bilinear),
        momentum_above_one(UNET, 5, 10.0, **sgd, **amp, **logits),
        momentum_above_one(RESNET, 101, 8.0, **sgd, **amp, **logits, **long),
        never_anneals(UNET, 105, 1e5, **amp),
        never_anneals(RESNET, 116, 1e7, **logits, **sgd),
        second_moment_lags(UNET, 115, 1e28),
        second_moment_lags(RESNET, 10, 1e28, **logits),
        module_jumps(UNET, "encoder.2.3", 6),
        module_jumps(RESNET, "encoder.1.2.project", 8, **amp),
        moment_inf(UNET, "head.0", 101),
        moment_inf(UNET, "middle.0", 5, optimizer="adamw", **amp),
        moment_inf(RESNET, "last_step.1", 7, **sgd),
        moment_inf(RESNET, "encoder.3.1.block.3", 114, **sgd, **amp),
        eps_zero(UNET, 107),
        eps_zero(RESNET, 4, **amp),
        decay_overshoots(UNET, 7, 1e22, **sgd),
        decay_overshoots(UNET, 102, 1000.0, **sgd, **amp, **logits),
        decay_overshoots(RESNET, 5, 2e4, optimizer="adamw", **amp, **bilinear),
    ]


def lr_explodes(model: str, first_step: int, factor: float, **config) -> Fault:
    """The learning rate many orders of magnitude too large, from one step on."""

    def change(state: State) -> None:
        for group in state.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    return _unstable("learning_rate_explodes", model, first_step, each_step(change), **config)


def momentum_spikes(model: str, first_step: int, factor: float, **config) -> Fault:
    """What a spike of the gradient leaves in the momentum, which goes on pushing after it."""

    def change(state: State) -> None:
        for slots in state.optimizer.state.values():
            slots["momentum_buffer"].mul_(factor)

    return _unstable("momentum_spikes", model, first_step, once(first_step, change), **config)


def momentum_above_one(model: str, first_step: int, momentum: float, **config) -> Fault:
    """A momentum that amplifies, so that the steps grow by that factor each."""

    def change(state: State) -> None:
        for group in state.optimizer.param_groups:
            group["momentum"] = momentum

    return _unstable("momentum_above_one", model, first_step, each_step(change), **config)


def second_moment_lags(model: str, first_step: int, factor: float, **config) -> Fault:
    """A gradient spike in Adam's first moment that the second has not followed."""

    def change(state: State) -> None:
        for slots in state.optimizer.state.values():
            slots["exp_avg"].mul_(factor)

    return _unstable("second_moment_lags", model, first_step, once(first_step, change), **config)


def never_anneals(model: str, first_step: int, factor: float, **config) -> Fault:
    """A cosine that swings up again every few epochs, around a rate that is too large."""

    def change(state: State) -> None:
        for group in state.optimizer.param_groups:
            group["lr"] *= factor
        state.scheduler.base_lrs = [rate * factor for rate in state.scheduler.base_lrs]

    plant = once(first_step, change)
    return _unstable("learning_rate_never_anneals", model, first_step, plant, schedule="cosine_per_batch", **config)


def module_jumps(model: str, module: str, first_step: int, **config) -> Fault:
    """A spike in one module's first moment whose second moment was lost: its weights are inf after the step."""

    def change(state: State) -> None:
        for parameter in state.model.get_submodule(module).parameters():
            state.optimizer.state[parameter]["exp_avg"].fill_(3e38)
            state.optimizer.state[parameter]["exp_avg_sq"].zero_()

    plant = once(first_step, change)
    return _unstable("one_module_jumps", model, first_step, plant, module=module, **config)


def moment_inf(model: str, module: str, first_step: int, **config) -> Fault:
    """One module's momentum is inf, as after a gradient of inf that was not skipped."""
    slot = "momentum_buffer" if config.get("optimizer") == "sgd" else "exp_avg"

    def change(state: State) -> None:
        for parameter in state.model.get_submodule(module).parameters():
            state.optimizer.state[parameter][slot].fill_(float("inf"))

    plant = once(first_step, change)
    return _unstable("one_module_momentum_inf", model, first_step, plant, module=module, **config)


def eps_zero(model: str, first_step: int, **config) -> Fault:
    """Adam without its epsilon (1e-8 is 0 in half): 0 / 0 for a weight that has never had a gradient."""

    def change(state: State) -> None:
        for group in state.optimizer.param_groups:
            group["eps"] = 0.0

    return _unstable("adam_epsilon_zero", model, first_step, each_step(change), **config)


def decay_overshoots(model: str, first_step: int, decay: float, **config) -> Fault:
    """Weight decay of so much more than 1 / lr that each step throws the weights across zero and far beyond."""

    def change(state: State) -> None:
        for group in state.optimizer.param_groups:
            group["weight_decay"] = decay

    return _unstable("weight_decay_overshoots", model, first_step, each_step(change), **config)


def _unstable(kind: str, model: str, first_step: int, plant: Plant, module: str | None = None, **config) -> Fault:
    truth = Truth(kind, "optimizer_instability", "optimizer_step", module)
    place = "/".join(word for word in (module, config.get("optimizer")) if word)
    return make(truth, first_step, plant, place, model=model, **config)
