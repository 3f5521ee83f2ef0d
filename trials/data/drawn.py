"""Cats and dogs drawn from a seed: the embedded data set, for a machine that has not fetched the real one.

It keeps what makes the real set hard: structures a pixel or two wide, and backgrounds of the animal's own colours.
Animal and background take their colours from one palette, so shape and texture are the only way to the mask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from trials.data.backdrops import background, noise

HARD_CASES = ("thin_structure", "same_colour")  # labels a picture may carry
MIN_SIZE_PX = 32
SUPERSAMPLING = 2  # the canvas is this many times larger than the picture

PALETTE_K3 = np.array(  # RGB in 0..1, coats and furniture alike
    [
        (0.15, 0.13, 0.13),
        (0.29, 0.20, 0.15),
        (0.45, 0.28, 0.17),
        (0.68, 0.41, 0.20),
        (0.78, 0.60, 0.38),
        (0.87, 0.78, 0.64),
        (0.91, 0.89, 0.86),
        (0.56, 0.55, 0.54),
        (0.36, 0.38, 0.42),
        (0.58, 0.49, 0.40),
    ],
    dtype=np.float32,
)

# What a canvas pixel shows. Up to FAR it is fur; the rest is skin or hair of a colour of its own.
BACKGROUND, MAIN, SECOND, FAR, EYE, PUPIL, NOSE, TONGUE, WHISKER = range(9)
OWN_COLOURS_K3 = np.array(  # by kind; fur has the coat's colours, whiskers contrast with the background
    [(0, 0, 0)] * 4 + [(0.72, 0.60, 0.28), (0.06, 0.05, 0.05), (0.20, 0.13, 0.13), (0.80, 0.45, 0.45), (0, 0, 0)],
    dtype=np.float32,
)


@dataclass(frozen=True)
class Drawing:
    """One picture, its mask and the hard cases it shows."""

    image_HWC: np.ndarray  # uint8, RGB
    mask_HW: np.ndarray  # uint8, 1 = animal (whiskers and tail included), 0 = background
    hard_cases: tuple[str, ...]  # a subset of HARD_CASES, in their order


@dataclass(frozen=True)
class Part:
    """A tube of flesh or hair: discs strung along a line. Units: the animal is about 1 high, y points down."""

    discs_N3: np.ndarray  # x, y, radius
    kind: int


@dataclass(frozen=True)
class Pose:
    """Where the parts are for an animal that faces right and stands on y = 0. Rows are x, y, radius."""

    trunk: tuple
    near_limbs: tuple
    far_limbs: tuple
    head: tuple  # x, y
    tail: tuple  # x, y of its root, and the direction it leaves in, in radians


_FORELEG = ((0.34, -0.46, 0.11), (0.36, -0.24, 0.06), (0.36, -0.05, 0.05), (0.42, -0.04, 0.045))
_HINDLEG = ((-0.44, -0.5, 0.15), (-0.37, -0.3, 0.09), (-0.47, -0.17, 0.05), (-0.44, -0.05, 0.05), (-0.38, -0.04, 0.045))
_SITTING_FORELEG = ((0.13, -0.5, 0.11), (0.21, -0.26, 0.06), (0.22, -0.05, 0.05), (0.29, -0.04, 0.045))
_FRONT_PAW = ((0.09, -0.5, 0.09), (0.1, -0.25, 0.065), (0.1, -0.05, 0.065))
_FRONT_HAUNCH = ((0.22, -0.24, 0.13), (0.24, -0.13, 0.12), (0.24, -0.05, 0.06))
POSES = {
    "standing": Pose(
        trunk=((-0.42, -0.53, 0.18), (0.0, -0.52, 0.165), (0.34, -0.54, 0.19), (0.46, -0.72, 0.13)),
        near_limbs=(_HINDLEG, _FORELEG),
        far_limbs=(_HINDLEG, _FORELEG),
        head=(0.56, -0.86),
        tail=(-0.56, -0.6, 3.5),
    ),
    "sitting": Pose(
        trunk=((-0.2, -0.2, 0.2), (-0.08, -0.42, 0.2), (0.06, -0.6, 0.17), (0.12, -0.75, 0.13)),
        near_limbs=(
            ((-0.12, -0.22, 0.2), (0.06, -0.17, 0.12), (0.0, -0.05, 0.05), (0.16, -0.04, 0.045)),
            _SITTING_FORELEG,
        ),
        far_limbs=(_SITTING_FORELEG,),
        head=(0.16, -0.92),
        tail=(-0.36, -0.1, 3.1),
    ),
    "sitting_front": Pose(
        trunk=((0.0, -0.24, 0.24), (0.0, -0.45, 0.2), (0.0, -0.7, 0.15)),
        near_limbs=(_FRONT_PAW, tuple((-x, y, r) for x, y, r in _FRONT_PAW)),
        far_limbs=(_FRONT_HAUNCH, tuple((-x, y, r) for x, y, r in _FRONT_HAUNCH)),
        head=(0.0, -0.9),
        tail=(-0.24, -0.1, 3.3),
    ),
    "lying": Pose(
        trunk=((-0.46, -0.2, 0.19), (0.0, -0.24, 0.2), (0.32, -0.27, 0.18), (0.42, -0.42, 0.13)),
        near_limbs=(
            ((-0.4, -0.2, 0.18), (-0.2, -0.13, 0.12), (-0.28, -0.05, 0.05), (-0.08, -0.045, 0.045)),
            ((0.32, -0.16, 0.1), (0.3, -0.06, 0.06), (0.56, -0.05, 0.05), (0.68, -0.045, 0.05)),
        ),
        far_limbs=(((0.32, -0.16, 0.1), (0.6, -0.06, 0.05), (0.72, -0.045, 0.045)),),
        head=(0.5, -0.56),
        tail=(-0.6, -0.12, 3.2),
    ),
}


def draw(index: int, *, seed: int = 0, size_px: int = 128) -> Drawing:
    """The picture of number `index` of the data set `seed`, square, `size_px` to a side.

    Always the same for the same arguments, whatever was drawn before. Another size shows the same scene.
    Raises ValueError for a size below 32 px, at which whiskers would no longer show, and for a negative index or seed.
    """
    if size_px < MIN_SIZE_PX:
        raise ValueError(f"size_px={size_px!r}; allowed: {MIN_SIZE_PX} or more (trials/data/drawn.py)")
    if index < 0 or seed < 0:
        raise ValueError(f"index={index!r}, seed={seed!r}; allowed: 0 or more (trials/data/drawn.py)")
    rng = np.random.default_rng((seed, index))
    is_thin, is_same = rng.random(2) < 0.5
    coat_23, decor_23 = _colours(rng, is_same)
    canvas_px = SUPERSAMPLING * size_px

    parts = _placed(rng, _animal(rng, is_thin), canvas_px)
    canvas_HWC = background(rng, decor_23, _shadow(parts, canvas_px))
    kinds_HW = _paint(rng, canvas_HWC, parts, coat_23)

    image_HWC = cv2.resize(canvas_HWC, (size_px, size_px), interpolation=cv2.INTER_AREA)
    image_HWC += rng.uniform(0.005, 0.025) * rng.standard_normal(image_HWC.shape, dtype=np.float32)
    coverage_HW = cv2.resize((kinds_HW > 0).astype(np.float32), (size_px, size_px), interpolation=cv2.INTER_AREA)
    return Drawing(
        image_HWC=np.rint(255 * image_HWC.clip(0, 1)).astype(np.uint8),
        mask_HW=(coverage_HW > 0.5).astype(np.uint8),
        hard_cases=tuple(case for case, shown in zip(HARD_CASES, (is_thin, is_same), strict=True) if shown),
    )


def _colours(rng: np.random.Generator, is_same: bool) -> tuple[np.ndarray, np.ndarray]:
    """Two colours for the coat and two for the background, each (2, 3). Exchanging the two changes no probability."""
    first, second = rng.choice(len(PALETTE_K3), 2, replace=False)
    pair = PALETTE_K3[[first, second]]
    if is_same:
        decor = pair[:: rng.choice((1, -1))]
    else:
        distances = np.linalg.norm(PALETTE_K3[:, None] - pair, axis=2).min(axis=1)
        decor = PALETTE_K3[rng.permutation(np.argsort(distances)[-3:])[:2]]
        pair, decor = (pair, decor) if rng.random() < 0.5 else (decor, pair)
    jitter = rng.normal(0, 0.015, (2, 2, 3)).astype(np.float32)
    white_balance = rng.normal(1, 0.04, 3).astype(np.float32)
    return (pair + jitter[0]) * white_balance, (decor + jitter[1]) * white_balance


# The animal, as tubes


def _animal(rng: np.random.Generator, is_thin: bool) -> list[Part]:
    """The parts of one cat or dog, the farthest first. A thin one has whiskers and a thin tail, another has neither."""
    is_cat = rng.random() < 0.5
    pose = POSES[rng.choice(sorted(POSES))]
    sock = SECOND if rng.random() < 0.4 else MAIN
    fatness = rng.uniform(0.85, 1.15)

    def tube(rows: tuple, kind: int, shift: tuple = (0.0, 0.0)) -> Part:
        discs = np.array(rows) + np.pad(rng.normal(0, 0.012, (len(rows), 2)), ((0, 0), (0, 1)))
        return Part(np.column_stack([discs[:, :2] + shift, discs[:, 2] * fatness]), kind)

    far_shift = (0.0, 0.0) if pose is POSES["sitting_front"] else (rng.uniform(0.07, 0.14), -0.02)
    parts = [_tail(rng, pose.tail, is_cat, is_thin, sock)]
    parts += [tube(limb, FAR, far_shift) for limb in pose.far_limbs]
    parts += [tube(pose.trunk, MAIN)]
    for limb in pose.near_limbs:
        parts += [tube(limb, MAIN)]
        parts += [replace(parts[-1], discs_N3=parts[-1].discs_N3[-2:], kind=sock)]
    return parts + _head(rng, pose.head, is_cat, is_thin)


def _tail(rng: np.random.Generator, root: tuple, is_cat: bool, is_thin: bool, kind: int) -> Part:
    """A curl that leaves the body at `root`; a thin one is about three pixels wide in a picture of 128."""
    x, y, heading = root
    steps = 14
    bend = rng.uniform(0.02, 0.2) * (1 if rng.random() < 0.8 or y > -0.2 else -1)
    headings = heading + bend * np.arange(steps) + rng.uniform(0, 0.25) * np.sin(np.linspace(0, 6, steps))
    length = rng.uniform(0.55, 0.8) if is_cat else rng.uniform(0.35, 0.6)
    directions = np.column_stack([np.cos(headings), np.sin(headings)])
    points = np.array((x, y)) + length / steps * np.cumsum(directions, axis=0)
    points[:, 1] = points[:, 1].clip(max=-0.02)
    bushy = np.interp(np.linspace(0, 1, steps), (0, 0.6, 1), (0.05, rng.uniform(0.06, 0.09), 0.04))
    return Part(np.column_stack([points, np.full(steps, 0.006) if is_thin else bushy]), kind)


def _head(rng: np.random.Generator, centre: tuple, is_cat: bool, is_thin: bool) -> list[Part]:
    """A head, ears first and whiskers last."""
    size = rng.uniform(0.17, 0.21)
    tilt = rng.normal(0, 0.12)
    turn = rng.uniform(0, 0.3)
    rotation = size * np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    if is_cat:
        shapes = _cat_face(rng, turn)
    elif is_thin or rng.random() < 0.4:  # a face, because on a profile whiskers look like teeth
        shapes = _dog_face(rng, turn)
    else:
        shapes = _dog_profile(rng)
    if is_thin:
        shapes += _whiskers(rng, turn)
    return [
        Part(np.column_stack([rows[:, :2] @ rotation + centre, rows[:, 2] * size]), kind)
        for rows, kind in ((np.array(rows, dtype=float), kind) for rows, kind in shapes)
    ]


def _cat_face(rng: np.random.Generator, turn: float) -> list[tuple]:
    """Rows of x, y, radius in head sizes, and a kind."""
    tip, muzzle = rng.uniform(1.15, 1.5), int(rng.choice((MAIN, SECOND)))
    shapes = []
    for side in (-1, 1):
        shapes += [([(side * 0.55, -0.55, 0.38), (side * 0.66, -0.85, 0.22), (side * 0.75, -tip, 0.05)], MAIN)]
        shapes += [([(side * 0.58, -0.7, 0.17), (side * 0.68, -tip + 0.2, 0.05)], FAR)]
    shapes += [([(-0.22, 0.02, 0.82), (0.22, 0.02, 0.82)], MAIN)]
    shapes += [([(turn - 0.15, 0.42, 0.27), (turn + 0.15, 0.42, 0.27)], muzzle)]
    for side in (-1, 1):
        shapes += [([(turn + side * 0.4, -0.08, 0.17)], EYE), ([(turn + side * 0.4, -0.08, 0.09)], PUPIL)]
    return [*shapes, ([(turn, 0.3, 0.1)], NOSE)]


def _dog_face(rng: np.random.Generator, turn: float) -> list[tuple]:
    """Rows of x, y, radius in head sizes, and a kind."""
    ear_kind, muzzle = rng.choice((MAIN, SECOND), 2).tolist()
    is_floppy = rng.random() < 0.75
    shapes = [([(0, -0.2, 0.8), (turn * 0.6, 0.4, 0.55)], MAIN), ([(turn, 0.35, 0.36), (turn, 0.55, 0.4)], muzzle)]
    ears = []
    for side in (-1, 1):
        floppy = [(side * 0.7, -0.65, 0.2), (side * 1.0, -0.2, 0.26), (side * 1.0, 0.45, 0.2)]
        pointed = [(side * 0.55, -0.7, 0.3), (side * 0.7, -1.35, 0.06)]
        ears += [(floppy if is_floppy else pointed, ear_kind)]
        shapes += [([(turn + side * 0.34, -0.12, 0.15)], EYE), ([(turn + side * 0.34, -0.12, 0.11)], PUPIL)]
    if rng.random() < 0.4:
        shapes += [([(turn, 0.8, 0.13), (turn, 1.05, 0.15)], TONGUE)]
    shapes += [([(turn - 0.07, 0.3, 0.15), (turn + 0.07, 0.3, 0.15)], NOSE)]
    return shapes + ears if is_floppy else ears + shapes


def _dog_profile(rng: np.random.Generator) -> list[tuple]:
    """Rows of x, y, radius in head sizes, and a kind."""
    reach = rng.uniform(1.35, 1.75)
    ear_kind, muzzle = rng.choice((MAIN, SECOND), 2).tolist()
    floppy = [(-0.3, -0.45, 0.2), (-0.45, 0.05, 0.28), (-0.4, 0.45, 0.2)]
    pointed = [(-0.35, -0.45, 0.3), (-0.5, -1.25, 0.06)]
    return [
        ([(-0.1, -0.05, 0.72), (0.15, 0.0, 0.64)], MAIN),
        ([(0.35, 0.15, 0.46), (reach - 0.3, 0.3, 0.27), (reach, 0.3, 0.25)], muzzle),
        ([(0.36, -0.22, 0.15)], EYE),
        ([(0.38, -0.22, 0.11)], PUPIL),
        ([(reach + 0.16, 0.2, 0.14)], NOSE),
        (floppy if rng.random() < 0.7 else pointed, ear_kind),
    ]


def _whiskers(rng: np.random.Generator, turn: float) -> list[tuple]:
    """Three curved hairs on each side of the nose: rows of x, y, radius in head sizes, and a kind."""
    along = np.linspace(0, 1, 5)
    reach = rng.uniform(1.25, 1.6)
    shapes = []
    for side in (-1, 1):
        droop = rng.uniform(-0.1, 0.3)
        for slope in (-0.3, 0.05, 0.4):
            x = turn + side * (0.25 + reach * along)
            y = 0.42 + slope * reach * along + (droop + rng.normal(0, 0.05)) * along**2
            shapes += [(np.column_stack([x, y, np.full(5, 0.015)]), WHISKER)]
    return shapes


def _placed(rng: np.random.Generator, parts: list[Part], canvas_px: int) -> list[Part]:
    """The parts in canvas pixels: turned left or right, somewhere in the frame, a quarter of them cut by its edge."""
    lean = rng.normal(0, 0.05)
    turn = np.array([[np.cos(lean), np.sin(lean)], [-np.sin(lean), np.cos(lean)]]) * (rng.choice((-1, 1)), 1)
    turned = [replace(p, discs_N3=np.column_stack([p.discs_N3[:, :2] @ turn, p.discs_N3[:, 2]])) for p in parts]
    rows = np.concatenate([p.discs_N3 for p in turned])
    low, high = (rows[:, :2] - rows[:, 2:]).min(axis=0), (rows[:, :2] + rows[:, 2:]).max(axis=0)
    if rng.random() < 0.25:
        scale = canvas_px * rng.uniform(0.7, 0.95)
        face = next(p for p in turned if p.kind == NOSE).discs_N3[0, :2]
        offset = canvas_px * rng.uniform((0.3, 0.3), (0.7, 0.6)) - scale * face
    else:
        scale = canvas_px * rng.uniform(0.72, 0.96) / (high - low).max()
        offset = rng.uniform(0, 1, 2) ** (1, 0.5) * (canvas_px - scale * (high - low)) - scale * low
    return [replace(p, discs_N3=p.discs_N3 * scale + (*offset, 0)) for p in turned]


# Paint


def _strokes(part: Part) -> list[tuple]:
    """The part as short thick lines of OpenCV: start, end, width in pixels, direction in degrees below 180."""
    x, y, radius = part.discs_N3.T
    along = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    num = 2 + int(min(7 * len(x), along[-1] / radius.min()))
    at = np.linspace(0, along[-1], num)
    x, y, radius = np.interp(at, along, x), np.interp(at, along, y), np.interp(at, along, radius)
    degrees = np.rad2deg(np.arctan2(np.diff(y), np.diff(x))) % 180
    points = np.rint(np.column_stack([x, y])).astype(int).tolist()
    widths = np.rint(np.maximum(2 * radius, 1.5 * SUPERSAMPLING)).astype(int).tolist()
    return list(zip(points[:-1], points[1:], widths[:-1], degrees.astype(int).tolist(), strict=True))


def _shape_maps(parts: list[Part], canvas_px: int) -> np.ndarray:
    """uint8 (H, W, 3): the kind, the direction of the hair in degrees, and 255 inside a part, 0 on its outline."""
    maps_HWC = np.zeros((canvas_px, canvas_px, 3), np.uint8)
    outline_px = round(0.012 * canvas_px)
    for part in parts:
        strokes = _strokes(part)
        if part.kind <= FAR:
            for start, end, width, degrees in strokes:
                cv2.line(maps_HWC, start, end, (part.kind, degrees, 0), width + outline_px)
        for start, end, width, degrees in strokes:
            cv2.line(maps_HWC, start, end, (part.kind, degrees, 255), width)
    return maps_HWC


def _paint(rng: np.random.Generator, canvas_HWC: np.ndarray, parts: list[Part], coat_23: np.ndarray) -> np.ndarray:
    """Paint the animal over the canvas, in place; the kind of each pixel, uint8 (H, W), is returned."""
    canvas_px = len(canvas_HWC)
    maps_HWC = _shape_maps(parts, canvas_px)
    kinds_HW = maps_HWC[..., 0].copy()
    depth_HW = cv2.distanceTransform(maps_HWC[..., 2].copy(), cv2.DIST_L2, 3)
    fur_HW = _fur(rng, maps_HWC)
    second_HW = _markings(rng, canvas_px)

    fur = np.flatnonzero((kinds_HW > 0) & (kinds_HW <= FAR))
    kinds, depth, hair, second = (values_HW.ravel()[fur] for values_HW in (kinds_HW, depth_HW, fur_HW, second_HW))
    light = (0.65 + 0.45 * np.sqrt((depth / (0.06 * canvas_px)).clip(0, 1))) * (hair / np.float32(128))
    light[kinds == FAR] *= 0.78
    light *= rng.uniform(0.9, 1.1) / light.mean()  # no darker or lighter than the background, over many pictures
    second[kinds == SECOND] = 1
    colours_K3 = OWN_COLOURS_K3.copy()
    colours_K3[WHISKER] = (0.95, 0.94, 0.92) if canvas_HWC.mean() < 0.5 else (0.08, 0.07, 0.07)
    colour_3N = coat_23[0][:, None] + second * (coat_23[1] - coat_23[0])[:, None]
    canvas_HWC.reshape(-1, 3)[fur] = (colour_3N * light).T
    bare = kinds_HW > FAR
    canvas_HWC[bare] = colours_K3[kinds_HW[bare]]
    return kinds_HW


def _fur(rng: np.random.Generator, maps_HWC: np.ndarray) -> np.ndarray:
    """Short hairs that follow the body, uint8 (H, W), 128 for the middle tone."""
    canvas_px = len(maps_HWC)
    num, num_tones = 6000, 12
    starts = (rng.random((num, 2)) * canvas_px).astype(int)
    lengths = rng.uniform(0.03, 0.055) * rng.uniform(0.7, 1.3, num)
    bends = np.deg2rad(rng.normal(0, 14, num) + rng.normal(0, 12))
    kinds, degrees, _ = maps_HWC[starts[:, 1], starts[:, 0]].T
    on_fur = np.flatnonzero((kinds > 0) & (kinds <= FAR))
    starts, angles = starts[on_fur], np.deg2rad(degrees[on_fur]) + bends[on_fur]
    steps = canvas_px * lengths[on_fur, None] * np.column_stack([np.cos(angles), np.sin(angles)])
    hairs = np.rint(np.stack([starts, starts + steps], axis=1)).astype(np.int32)
    fur_HW = np.full((canvas_px, canvas_px), 128, np.uint8)
    contrast = rng.uniform(55, 85)
    tones = (128 + contrast * rng.permutation(np.linspace(-1, 1, num_tones))).tolist()
    for tone, group in zip(tones, np.array_split(hairs, num_tones), strict=True):
        cv2.polylines(fur_HW, list(group), False, tone, max(1, round(0.007 * canvas_px)))
    return fur_HW


def _markings(rng: np.random.Generator, canvas_px: int) -> np.ndarray:
    """How much of the second coat colour shows, 0..1, (H, W): none, patches or tabby stripes."""
    style = rng.integers(3)
    if style == 0:
        return np.zeros((canvas_px, canvas_px), np.float32)
    if style == 1:
        return ((noise(rng, canvas_px, 5, 5) - 0.55) * 8).clip(0, 1)
    x = np.linspace(0, rng.uniform(50, 80), canvas_px, dtype=np.float32)
    return (0.5 * np.sin(x + 8 * noise(rng, canvas_px, 6, 6)) + 0.2).clip(0, 0.6)


def _shadow(parts: list[Part], canvas_px: int) -> np.ndarray:
    """The light that is left on the ground under the animal, as a factor, float32 (H, W)."""
    rows = np.concatenate([part.discs_N3 for part in parts if part.kind <= FAR])
    (left, _), (right, bottom) = rows[:, :2].min(axis=0), rows[:, :2].max(axis=0)
    light_HW = np.ones((canvas_px, canvas_px), np.float32)
    centre, axes = (int((left + right) / 2), int(bottom)), (int((right - left) / 2), int(0.05 * canvas_px))
    cv2.ellipse(light_HW, centre, axes, 0, 0, 360, 0.65, -1)
    return cv2.blur(light_HW, (1 + canvas_px // 12,) * 2)
