"""What may vary in a study, as plain data: a named question and the axes that are tried to answer it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace

Value = bool | int | float | str


@dataclass(frozen=True)
class Choice:
    """One of a few values, without an order. Raises ValueError where there is none, or one twice."""

    values: tuple[Value, ...]

    def __post_init__(self):
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values:
            raise ValueError("Choice(values=()): a choice needs at least one value")
        if len(set(map(repr, self.values))) < len(self.values):
            raise ValueError(f"Choice(values={self.values}): a value is listed twice")

    def __contains__(self, value: object) -> bool:
        return any(value == known and type(value) is type(known) for known in self.values)


@dataclass(frozen=True)
class Uniform:
    """A real number, every value from `low` to `high` equally likely.

    Raises ValueError unless both are finite and low < high.
    """

    low: float
    high: float

    def __post_init__(self):
        _check_bounds(self, self.low, self.high)

    def __contains__(self, value: object) -> bool:
        return _is_number(value) and self.low <= value <= self.high  # type: ignore[operator]  # _is_number


@dataclass(frozen=True)
class LogUniform:
    """A positive real number whose logarithm is uniform, from `low` to `high`.

    Raises ValueError unless both are finite and 0 < low < high.
    """

    low: float
    high: float

    def __post_init__(self):
        _check_bounds(self, self.low, self.high)
        if self.low <= 0:
            raise ValueError(f"{self}: a logarithmic axis needs low > 0")

    def __contains__(self, value: object) -> bool:
        return _is_number(value) and self.low <= value <= self.high  # type: ignore[operator]  # _is_number


@dataclass(frozen=True)
class IntRange:
    """A whole number from `low` to `high`, both included. Raises ValueError unless both are whole and low < high."""

    low: int
    high: int

    def __post_init__(self):
        _check_bounds(self, self.low, self.high)
        if not (isinstance(self.low, int) and isinstance(self.high, int)):
            raise ValueError(f"{self}: both ends of an IntRange are whole numbers")

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


Axis = Choice | Uniform | LogUniform | IntRange
KINDS = {Choice: "choice", Uniform: "uniform", LogUniform: "log_uniform", IntRange: "int_range"}


@dataclass(frozen=True)
class Space:
    """A question and what is varied to answer it.

    name: how the command line calls it.
    question: the sentence that the report answers.
    axes: TrialConfig field -> the values tried.
    fixed: TrialConfig field -> the one value it has in this space.
    baseline: a value for every axis; this configuration runs first.
    conditions: axis -> (other axis, value); the axis exists only where the other one has that value.
    asks: the axes that the question is about, which the report answers first; empty where it is about all of them.

    Raises ValueError, naming the space, where these do not fit each other.
    """

    name: str
    question: str
    axes: Mapping[str, Axis]
    fixed: Mapping[str, Value] = field(default_factory=dict)
    baseline: Mapping[str, Value] = field(default_factory=dict)
    conditions: Mapping[str, tuple[str, Value]] = field(default_factory=dict)
    asks: tuple[str, ...] = ()

    def __post_init__(self):
        if not self.axes:
            raise ValueError(f"space {self.name!r} has no axes; a space varies at least one TrialConfig field")
        for name, axis in self.axes.items():
            if type(axis) not in KINDS:
                raise ValueError(f"space {self.name!r}, axis {name!r} is {axis!r}; known: {_names(KINDS.values())}")
        if twice := sorted(set(self.axes) & set(self.fixed)):
            raise ValueError(f"space {self.name!r} both varies and fixes {twice}; keep each field in one of the two")
        if strange := [name for name in self.asks if name not in self.axes]:
            raise ValueError(f"space {self.name!r} asks about {strange}; what it can ask about: {', '.join(self.axes)}")
        self._check_conditions()
        self._check_baseline()

    def _check_conditions(self):
        names = list(self.axes)
        for name, condition in self.conditions.items():
            if isinstance(condition, str) or len(tuple(condition)) != 2:
                raise ValueError(
                    f"space {self.name!r}: conditions={{{name!r}: {condition!r}}}; a condition is (axis, value), "
                    f"{{'amp_dtype': ('amp', True)}} for one"
                )
        object.__setattr__(
            self, "conditions", {n: self.conditions[n] for n in sorted(self.conditions, key=_order(names))}
        )
        for name, (other, value) in self.conditions.items():
            if name not in self.axes or other not in self.axes:
                raise ValueError(f"space {self.name!r}: condition {name!r} on {other!r}; both must be axes: {names}")
            if names.index(other) > names.index(name):
                raise ValueError(f"space {self.name!r}: list {other!r} before {name!r}, which depends on it")
            if value not in self.axes[other]:
                raise ValueError(f"space {self.name!r}: {name!r} waits for {other}={value!r}, never among its values")

    def _check_baseline(self):
        wanted = {name for name in self.axes if self.is_active(name, self.baseline)}
        if set(self.baseline) != wanted:
            raise ValueError(
                f"space {self.name!r}: the baseline sets {sorted(self.baseline)}; it must set {sorted(wanted)}"
            )
        for name, value in self.baseline.items():
            if value not in self.axes[name]:
                raise ValueError(f"space {self.name!r}: baseline {name}={value!r} lies outside {self.axes[name]}")

    def is_active(self, name: str, chosen: Mapping[str, Value]) -> bool:
        """Whether the axis exists, given the values chosen for the axes before it."""
        if name not in self.conditions:
            return True
        other, value = self.conditions[name]
        return chosen.get(other) == value

    def fixing(self, settings: Mapping[str, Value]) -> "Space":
        """The space with these fields no longer varied; axes that waited for another value of them are gone.

        Raises ValueError where no axis is left.
        """
        axes = {name: axis for name, axis in self.axes.items() if name not in settings}
        conditions = {name: condition for name, condition in self.conditions.items() if name in axes}
        for name, (other, wanted) in list(conditions.items()):  # in the axes' order: what is gone stays gone
            if other in axes:
                continue
            del conditions[name]
            if settings.get(other) != wanted:
                del axes[name]
        if not axes:
            raise ValueError(
                f"--set fixes every axis of space {self.name!r}: {', '.join(self.axes)}; leave one to vary"
            )
        baseline = {name: value for name, value in self.baseline.items() if name in axes}
        for name in set(axes) - set(baseline) - set(conditions):
            baseline[name] = _any_value(axes[name])  # an axis whose condition now always holds
        asks = tuple(name for name in self.asks if name in axes)
        fixed = {**self.fixed, **settings}
        return replace(self, axes=axes, fixed=fixed, baseline=baseline, conditions=conditions, asks=asks)

    def with_values(self, change: Callable[[str, Value], Value]) -> "Space":
        """The space with each value that it names changed: change(TrialConfig field, value) -> value."""
        axes = {
            name: Choice(tuple(change(name, value) for value in axis.values)) if isinstance(axis, Choice) else axis
            for name, axis in self.axes.items()
        }
        fixed, baseline = (
            {name: change(name, value) for name, value in values.items()} for values in (self.fixed, self.baseline)
        )
        conditions = {name: (other, change(other, value)) for name, (other, value) in self.conditions.items()}
        return replace(self, axes=axes, fixed=fixed, baseline=baseline, conditions=conditions)

    def to_dict(self) -> dict:
        """The space in full, as JSON can hold it."""
        return {
            "name": self.name,
            "question": self.question,
            "axes": {name: {"kind": KINDS[type(axis)], **asdict(axis)} for name, axis in self.axes.items()},
            "fixed": dict(self.fixed),
            "baseline": dict(self.baseline),
            "conditions": {name: list(condition) for name, condition in self.conditions.items()},
            "asks": list(self.asks),
        }


def space_from_dict(data: Mapping) -> Space:
    """The space that `Space.to_dict` wrote down. Raises KeyError where a part of it is missing."""
    kinds = {kind: axis_type for axis_type, kind in KINDS.items()}

    def axis_from(entry: Mapping) -> Axis:
        return kinds[entry["kind"]](**{key: value for key, value in entry.items() if key != "kind"})

    return Space(
        name=data["name"],
        question=data["question"],
        axes={name: axis_from(entry) for name, entry in data["axes"].items()},
        fixed=data["fixed"],
        baseline=data["baseline"],
        conditions={name: tuple(condition) for name, condition in data["conditions"].items()},  # type: ignore[misc]
        asks=tuple(data.get("asks", ())),  # not in older ones
    )


def _order(names: list[str]):
    return lambda name: names.index(name) if name in names else len(names)


def _any_value(axis: Axis) -> Value:
    return axis.values[0] if isinstance(axis, Choice) else axis.low


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_bounds(axis: object, low: float, high: float) -> None:
    if not (_is_number(low) and _is_number(high) and math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"{axis}: low and high must be finite numbers with low < high")


def _names(values) -> str:
    return ", ".join(sorted(values))
