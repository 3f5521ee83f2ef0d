"""A batch of any structure (dictionaries, tuples, lists, data classes, nested) as named tensors and a description."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

PLAIN = (str, int, float, bool, type(None))


def taken_apart(value: Any) -> tuple[dict[str, Tensor], Any]:
    """The tensors in their shapes, numbered, and the structure around them, as JSON can hold it.

    A value that is neither tensor nor text nor number is left out; the structure says of which type it was.
    """
    tensors: dict[str, Tensor] = {}
    return tensors, _described(value, tensors)


def _described(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[str(len(tensors))] = value
        return {"tensor": str(len(tensors) - 1)}
    if hasattr(value, "__array__") and getattr(getattr(value, "dtype", None), "kind", "") in "biuf":  # NumPy's
        return _described(torch.as_tensor(value), tensors)
    if isinstance(value, PLAIN):
        return {"value": value if not isinstance(value, float) or abs(value) < float("inf") else repr(value)}
    if isinstance(value, Mapping):
        return {"dict": [[_key(key), _described(item, tensors)] for key, item in value.items()]}
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a named tuple
        return {"object": [[name, _described(getattr(value, name), tensors)] for name in value._fields]}
    if isinstance(value, list | tuple):
        items = [_described(item, tensors) for item in value]
        return {"tuple": items} if type(value) is tuple else {"list": items}
    if is_dataclass(value):
        named = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"object": [[name, _described(item, tensors)] for name, item in named.items()]}
    return {"left_out": f"{type(value).__module__}.{type(value).__qualname__}"}


def _key(key: Any) -> Any:
    return key if isinstance(key, str | int | bool) else str(key)


def put_back(structure: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The value again, its tensors in their shapes.

    A data class or named tuple comes as an object with the same attributes, what was left out as None.
    """
    ((kind, content),) = structure.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "value":
        return content
    if kind == "dict":
        return {key: put_back(item, tensors) for key, item in content}
    if kind == "object":
        return SimpleNamespace(**{name: put_back(item, tensors) for name, item in content})
    if kind in ("list", "tuple"):
        items = [put_back(item, tensors) for item in content]
        return items if kind == "list" else tuple(items)
    return None


def left_out(structure: Any) -> list[str]:
    """The types of the values that a capsule cannot hold."""
    ((kind, content),) = structure.items()
    if kind == "left_out":
        return [content]
    if kind in ("dict", "object"):
        return [name for _, item in content for name in left_out(item)]
    return [name for item in content for name in left_out(item)] if kind in ("list", "tuple") else []


def largest_by_name(batches: list[Any]) -> dict[str, float]:
    """The largest finite magnitude of each floating-point tensor, by its place, over these batches."""
    largest: dict[str, float] = {}
    for batch in batches:
        for name, tensor in named_tensors(batch):
            values = tensor.detach()[torch.isfinite(tensor)] if tensor.is_floating_point() else tensor.new_empty(0)
            if values.numel():
                largest[name] = max(largest.get(name, 0.0), float(values.abs().max()))
    return largest


def non_finite_in(batch: Any) -> str | None:
    """How many values of which of a batch's tensors are not finite, in words; of several tensors the first."""
    for name, tensor in named_tensors(batch):
        if tensor.is_floating_point() and (num := int((~torch.isfinite(tensor)).sum())):
            return f"{num} values of {name} are not finite"
    return None


def named_tensors(value: Any, name: str = "") -> list[tuple[str, Tensor]]:
    """The tensors of a batch, of any shape, each with its place in words: "images", "0.mask", or "the batch"."""
    if isinstance(value, Tensor):
        return [(name or "the batch", value)]
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))
    else:
        items = list(getattr(value, "__dict__", {}).items())
    return [found for key, item in items for found in named_tensors(item, f"{name}.{key}" if name else str(key))]
