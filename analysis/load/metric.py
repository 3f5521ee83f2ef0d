"""Which measurement trials are ranked by and which end of it is best: as asked, as recorded, else guessed and said."""

import re
from dataclasses import dataclass

NO_METRICS = (  # numbers that nobody asks to be best
    "loss_scale",
    "images_per_s",
    "time_total_s",
    "timestamp",
    "diverged_step",
    "reported_epoch",
    "num_rollbacks",
)
LIKELY = (  # in the name of what a study is about, the likelier first
    *("dice", "accuracy", "acc", "score", "iou", "auc", "f1", "reward", "return"),
    *("loss", "rmse", "mse", "mae", "error"),
)
UNLIKELY = ("lr", "step", "steps", "epoch", "epochs", "iter", "iteration", "time", "num", "count", "seed")
HELD_OUT = ("val", "valid", "validation", "eval", "evaluation", "test", "dev", "holdout")
LOWER = frozenset(  # words in a name of what is better the less it is
    [
        *("loss", "losses", "logloss", "error", "errors", "err", "bce", "nll", "ce", "entropy", "crossentropy"),
        *("rmse", "mse", "mae", "mape", "smape", "rmsle", "deviance", "brier", "divergence", "kl", "residual"),
        *("perplexity", "ppl", "bpc", "bpb", "fid", "kid", "wer", "cer", "ter", "eer", "hausdorff", "hd", "hd95"),
        *("assd", "regret", "cost", "costs", "latency", "time", "duration", "runtime", "violations"),
    ]
)
LOWER_WITHIN = ("loss", "error", "bce", "perplexity", "rmse", "entropy")  # in any part of a word: valloss, msle is none
HIGHER_OF_LOWER = ("neg", "negative", "minus")  # before a word of LOWER: neg_mean_squared_error, of scikit-learn


class NoMetric(ValueError):
    """No trial has measured it."""


@dataclass(frozen=True)
class Choice:
    """The metric that trials are ranked by, and what had to be guessed of it."""

    metric: str
    mode: str  # "min" or "max"
    guess: str = ""  # what of it is a guess, as a sentence; empty where it was asked for or recorded
    gaps: tuple[str, ...] = ()


def choose(
    measured: list[str],
    asked: tuple[str | None, str | None],
    recorded: tuple[object, object],
    *,
    is_ours: bool,
) -> Choice:
    """asked, recorded: metric and mode by the command line, and by study.json or Ray's record.

    Raises NoMetric where the metric asked for was not measured, or its name fits several.
    """
    metric = matched(asked[0], measured) if asked[0] is not None else None
    known = recorded[0] if isinstance(recorded[0], str) else None
    in_record = found_in(known, measured) if known else None
    gaps = ()
    if known and not is_ours and measured and in_record is None:
        gaps = (f"Ray's record names {known} as the metric, which no line measures.",)
    chosen = metric or in_record or (known if is_ours or not measured else None)
    if chosen is None and (not measured or (is_ours and "val_dice" in measured)):
        chosen = "val_dice"
    is_guess = chosen is None
    chosen = chosen or min(measured, key=likelihood)
    mode = recorded[1] if chosen in (known, in_record) and recorded[1] in ("min", "max") else None
    mode = asked[1] or mode
    guess = "" if is_ours or not measured else guess_of(chosen, mode_of(chosen), is_guess, mode is None)
    if is_guess:
        others = ", ".join(name for name in measured if name != chosen)
        also = f" (also measured: {others})" if others else ""
        gaps += (f"The metric is not recorded; --metric NAME and --mode min|max choose another{also}.",)
    return Choice(chosen, mode or mode_of(chosen), guess, gaps)


def guess_of(metric: str, mode: str, is_metric: bool, is_mode: bool) -> str:
    """The sentence that says which of metric and mode is a guess; empty where neither is."""
    better = "lower" if mode == "min" else "higher"
    if is_metric and is_mode:
        return (
            f"That {metric} is what counts, and that {better} is better, is a guess from names: --metric and --mode say"
            " otherwise."
        )
    if is_metric:
        return f"That {metric} is what counts is a guess from the names of what was measured: --metric says otherwise."
    if is_mode:
        return f"That {better} {metric} is better is a guess from its name: --mode says otherwise."
    return ""


def matched(name: str, measured: list[str]) -> str:
    """The measurement meant by a name, whatever the nesting: accuracy or eval.accuracy for eval/accuracy.

    Raises NoMetric where no measurement has that name, or several do.
    """
    found = candidates(name, measured)
    if len(found) == 1:
        return found[0]
    if found:
        raise NoMetric(f"--metric {name!r} may be any of {', '.join(found)}; name one of them")
    raise NoMetric(f"--metric {name!r} was not measured; measured are {', '.join(measured) or 'nothing'}")


def found_in(name: str, measured: list[str]) -> str | None:
    """The one measurement that a name means; None where there is none, or several."""
    found = candidates(name, measured)
    return found[0] if len(found) == 1 else None


def candidates(name: str, measured: list[str]) -> list[str]:
    """The measurements of that name; else of that path; else whose path ends in it; else whatever the case."""
    path = parts(name)
    for fits in (
        lambda other: other == name,
        lambda other: parts(other) == path,
        lambda other: parts(other)[-len(path) :] == path,
        lambda other: [part.lower() for part in parts(other)][-len(path) :] == [part.lower() for part in path],
    ):
        found = [other for other in measured if fits(other)]
        if found:
            return found
    return []


def parts(name: str) -> list[str]:
    return re.split(r"[/.]", name)


def likelihood(name: str) -> tuple[bool, int, bool]:
    """The lower the likelier to be what a study is about: by LIKELY, validation before training."""
    words = words_of(name)
    place = next((place for place, word in enumerate(LIKELY) if has(name, words, word)), len(LIKELY))
    is_bookkeeping = place == len(LIKELY) and any(word in UNLIKELY for word in words)
    return is_bookkeeping, place, not any(word in HELD_OUT or word.startswith(HELD_OUT[:3]) for word in words)


def has(name: str, words: list[str], word: str) -> bool:
    return word in words or (len(word) > 3 and word in name.lower())


def mode_of(metric: str) -> str:
    """Of a name alone: less of a loss, an error, a cost is better, and more of anything else."""
    words = words_of(metric)
    low = any(word in LOWER or any(part in word for part in LOWER_WITHIN) for word in words)
    low = low or "".join(words).endswith(("negloglikelihood", "negativeloglikelihood"))
    is_negated = low and any(word in HIGHER_OF_LOWER for word in words) and "likelihood" not in words
    return "min" if low and not is_negated else "max"


def words_of(name: str) -> list[str]:
    """valLoss/mean_mse@0.5 -> val, loss, mean, mse, 0, 5."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [word for word in re.split(r"[^a-z0-9]+", apart.lower()) if word]
