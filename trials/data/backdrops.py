"""What stands behind the drawn animals: patterns of two colours, without hair (see trials/data/drawn.py)."""

import math

import cv2
import numpy as np


def noise(rng: np.random.Generator, canvas_px: int, rows: int, columns: int) -> np.ndarray:
    """Smooth noise, 0..1, (H, W) float32, of this many cells down and across."""
    cells = rng.random((rows, columns), dtype=np.float32)
    return cv2.resize(cells, (canvas_px, canvas_px), interpolation=cv2.INTER_LINEAR)


def _planks(rng: np.random.Generator, canvas_px: int) -> np.ndarray:
    """Floor boards with a long grain. This and the other patterns: 0..1, (H, W), the share of the second colour."""
    num = int(rng.integers(4, 10))
    row = np.linspace(0, num, canvas_px, endpoint=False)
    tones = rng.uniform(0.2, 0.8, num).astype(np.float32)[row.astype(int)]
    tones[row % 1 < 0.08] = 0 if rng.random() < 0.5 else 1
    boards = tones[:, None] + 0.5 * (noise(rng, canvas_px, 90, 4) - 0.5)
    return boards if rng.random() < 0.5 else boards.T


def _checks(rng: np.random.Generator, canvas_px: int) -> np.ndarray:
    """A chequered cloth or tiles, at any angle."""
    angle, pitch = rng.uniform(0, math.pi), rng.uniform(0.12, 0.25)
    at = np.arange(canvas_px, dtype=np.float32) / (pitch * canvas_px)
    u = np.floor(at * math.cos(angle) + at[:, None] * math.sin(angle))
    v = np.floor(at[:, None] * math.cos(angle) - at * math.sin(angle))
    return ((u + v) % 2) * rng.uniform(0.4, 0.8) + 0.2 * noise(rng, canvas_px, 4, 4)


def _blades(rng: np.random.Generator, canvas_px: int) -> np.ndarray:
    """Dry grass: blades much longer than a hair, nearly upright."""
    tones_HW = np.full((canvas_px, canvas_px), 90, np.uint8)
    roots = rng.uniform((0, 0), (1, 1.2), (700, 2))
    tips = roots + np.column_stack([rng.normal(0, 0.05, 700), -rng.uniform(0.12, 0.3, 700)])
    blades = np.rint(np.stack([roots, tips], axis=1) * canvas_px).astype(np.int32)
    for tone, group in zip(rng.permutation(np.linspace(0, 255, 14)), np.array_split(blades, 14), strict=True):
        cv2.polylines(tones_HW, list(group), False, float(tone), max(1, round(0.014 * canvas_px)))
    return tones_HW.astype(np.float32) / 255


def _blotches(rng: np.random.Generator, canvas_px: int) -> np.ndarray:
    """Lights and leaves out of focus."""
    tones_HW = np.full((canvas_px, canvas_px), 0.5, np.float32)
    for x, y, radius, tone in rng.uniform((0, 0, 0.03, 0), (1, 1, 0.12, 1), (40, 4)).tolist():
        cv2.circle(tones_HW, (int(x * canvas_px), int(y * canvas_px)), int(radius * canvas_px), tone, -1)
    return cv2.blur(tones_HW, (1 + canvas_px // 20,) * 2)


def _folds(rng: np.random.Generator, canvas_px: int) -> np.ndarray:
    """A curtain or a crumpled sheet."""
    x = np.linspace(0, rng.uniform(15, 50), canvas_px, dtype=np.float32)
    folds = 0.5 + 0.5 * np.sin(x + 6 * noise(rng, canvas_px, 4, 4))
    return folds if rng.random() < 0.6 else folds.T


def _wall(rng: np.random.Generator, canvas_px: int) -> np.ndarray:
    """Plaster: nearly even, one corner lighter."""
    return noise(rng, canvas_px, 3, 3) + 0.15 * (noise(rng, canvas_px, 60, 60) - 0.5)


PATTERNS = (_planks, _checks, _blades, _blotches, _folds, _wall)


def background(rng: np.random.Generator, decor_23: np.ndarray, shadow_HW: np.ndarray) -> np.ndarray:
    """A room or a garden in two colours, RGB float32 (H, W, 3): two patterns that meet at a horizon, and things."""
    canvas_px = len(shadow_HW)
    above, below = rng.choice(len(PATTERNS), 2, replace=False)
    share_HW = np.ascontiguousarray(PATTERNS[above](rng, canvas_px))
    horizon = int(canvas_px * rng.choice((0, rng.uniform(0.4, 0.8), 1)))
    share_HW[horizon:] = PATTERNS[below](rng, canvas_px)[horizon:]
    light_HW = 0.8 + 0.4 * noise(rng, canvas_px, 3, 3)
    light_HW[horizon:] *= rng.uniform(0.8, 1.2)
    for _ in range(rng.integers(0, 4)):  # cushions and balls, of the animal's colours and curves but without hair
        x, y = (rng.uniform(0, 1, 2) * canvas_px).astype(int).tolist()
        axes = (rng.uniform(0.06, 0.22, 2) * canvas_px).astype(int)
        tilt, step = int(rng.integers(180)), int(rng.choice((5, 90)))
        rim, inner = (
            np.asarray(cv2.ellipse2Poly((x, y), size.tolist(), tilt, 0, 360, step)) for size in (axes, axes * 15 // 16)
        )
        cv2.fillPoly(light_HW, [rim], 0.6)
        cv2.fillPoly(light_HW, [inner], rng.uniform(0.9, 1.15))
        cv2.fillPoly(share_HW, [rim], rng.uniform(0, 1))
    light_HW *= shadow_HW / light_HW.mean()
    share_HW = share_HW.clip(0, 1)
    canvas_HWC = cv2.merge([light_HW * (c0 + share_HW * (c1 - c0)) for c0, c1 in decor_23.T])
    blur_px = rng.uniform(-0.01, 0.015) * canvas_px
    return cv2.GaussianBlur(canvas_HWC, (0, 0), blur_px) if blur_px > 0.5 else canvas_HWC
