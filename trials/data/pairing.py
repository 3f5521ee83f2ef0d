"""Which mask belongs to which image, by their names."""

from collections import Counter
from dataclasses import dataclass
from os.path import commonprefix
from pathlib import Path

from trials.wording import some

WHERE = "--set mask_suffix=_mask takes the mask NAME_mask for the image NAME (trials/config.py)"


@dataclass(frozen=True)
class Pairing:
    """(name, image, mask) in the order of the names; and how they were matched, where names are not the same."""

    pairs: tuple[tuple[str, Path, Path], ...]
    notes: tuple[str, ...] = ()


def match(images: dict[str, Path], masks: dict[str, Path], mask_suffix: str, root: Path) -> Pairing:
    """Images and masks by name (without ending) -> pairs.

    The names are the same; or each mask's is the image's and `mask_suffix`; or all masks' differ from their images'
    in the same way (NAME_mask for NAME, mask_7 for img_7), which is then said; or they differ by upper and lower case.
    Raises FileNotFoundError, naming images and masks without a partner.
    """
    if mask_suffix:
        return _by_suffix(images, masks, mask_suffix, root)
    if images.keys() == masks.keys():
        return Pairing(tuple((name, images[name], masks[name]) for name in images))
    if not images.keys() & masks.keys():
        for guess in (_mask_of_longer_name, _mask_of_same_core, _mask_of_other_case):
            mask_of = guess(images, masks)
            if mask_of.keys() == images.keys() and set(mask_of.values()) == masks.keys():
                name, mask = next(iter(mask_of.items()))
                note = (
                    f"the masks' names differ from the images'; matched are image {name!r} and mask {mask!r}, and so on"
                )
                return Pairing(tuple((name, images[name], masks[mask]) for name, mask in mask_of.items()), (note,))
    raise FileNotFoundError(_without_partner(images, masks, root))


def _by_suffix(images: dict[str, Path], masks: dict[str, Path], mask_suffix: str, root: Path) -> Pairing:
    chosen = {name.removesuffix(mask_suffix): path for name, path in masks.items() if name.endswith(mask_suffix)}
    if alone := sorted(set(images) ^ set(chosen)):
        raise FileNotFoundError(
            f"{root}: with mask_suffix={mask_suffix} {len(alone)} images and masks have no partner: {some(alone)}"
        )
    others = [path.name for name, path in masks.items() if not name.endswith(mask_suffix)]
    note = f"{len(others)} masks left out, whose names do not end in {mask_suffix}: {some(others)}"
    return Pairing(tuple((n, images[n], chosen[n]) for n in images), (note,) if others else ())


def _additions(images: dict[str, Path], masks: dict[str, Path]) -> Counter[tuple[str, str]]:
    """What masks' names have before and after an image's, by how many masks have it."""
    found: Counter[tuple[str, str]] = Counter()
    for mask in masks:
        for cut in range(1, len(mask)):
            if mask[:cut] in images:
                found["", mask[cut:]] += 1
            if mask[cut:] in images:
                found[mask[:cut], ""] += 1
    return found


def _mask_of_longer_name(images: dict[str, Path], masks: dict[str, Path]) -> dict[str, str]:
    """Mask names by image: each the image's with one and the same addition before or after it."""
    frequent = _additions(images, masks).most_common(1)
    if not frequent:
        return {}
    (before, after), _ = frequent[0]
    return {name: mask for name in images if (mask := f"{before}{name}{after}") in masks}


def _mask_of_same_core(images: dict[str, Path], masks: dict[str, Path]) -> dict[str, str]:
    """Mask names by image: alike once what all images' names share, and what all masks' share, is taken away."""
    image_of = {core: name for name, core in _cores(images).items()}
    return {image_of[core]: mask for mask, core in _cores(masks).items() if core in image_of}


def _cores(names: dict[str, Path]) -> dict[str, str]:
    before = len(commonprefix(list(names)))  # noqa: RUF071  characters are meant, no paths
    rest = [name[before:][::-1] for name in names]
    after = len(commonprefix(rest))  # noqa: RUF071  the same
    return {name: turned[after:][::-1] for name, turned in zip(names, rest, strict=True)}


def _mask_of_other_case(images: dict[str, Path], masks: dict[str, Path]) -> dict[str, str]:
    mask_of = {mask.casefold(): mask for mask in masks}
    return {name: mask_of[name.casefold()] for name in images if name.casefold() in mask_of}


def _without_partner(images: dict[str, Path], masks: dict[str, Path], root: Path) -> str:
    alone = sorted(set(images) ^ set(masks))
    text = f"{root}: {len(alone)} images and masks have no partner of the same name: {some(alone)}"
    frequent = [(affixes, num) for affixes, num in _additions(images, masks).most_common(3) if num > len(images) / 2]
    if frequent:
        named = " or ".join(f"{before}NAME{after}" for (before, after), _ in frequent)
        num = frequent[0][1]
        text += f"; {num} masks are named {named} for an image NAME: {WHERE}"
    return text
