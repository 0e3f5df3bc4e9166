"""Hands and objects before a face."""

from __future__ import annotations

import cv2
import numpy as np

from likeness.data.obstructions.layers import (
    Layer,
    Points,
    blurred,
    fill,
    random_colour,
    rounded,
    shaded,
    smooth_outline,
    stroke,
)
from likeness.types import FloatArray


def hand(face: FloatArray, rng: np.random.Generator) -> Layer:
    """A hand in a tone of the face's skin: a palm, two to five fingers, and often a wrist.

    Args:
        face: (S, S, 3) aligned face in [0, 1].
        rng: source of shape, place and tone.
    """
    size = len(face)
    across = size * rng.uniform(0.14, 0.26)  # of the palm
    towards = rng.uniform(0, 2 * np.pi) if rng.random() < 0.3 else rng.normal(-np.pi / 2, 0.7)
    forward = np.array([np.cos(towards), np.sin(towards)])
    aside = np.array([-forward[1], forward[0]]) * rng.choice([-1, 1])
    palm = np.array([rng.uniform(0.22, 0.78), rng.uniform(0.5, 0.92)]) * size
    turn = np.linspace(0, 2 * np.pi, 9)[:-1, None]
    body = fill(size, smooth_outline(palm + (np.cos(turn) * forward * 0.72 + np.sin(turn) * aside * 0.66) * across))
    coverage, creases = body, np.zeros((size, size), np.float32)
    light = rounded(body, across * 0.25)
    count, width = int(rng.integers(2, 6)), across * rng.uniform(0.22, 0.3)
    for i in range(count):
        offset = (i - (count - 1) / 2) / max(count - 1, 1)
        base = palm + forward * across * 0.35 + aside * offset * across * 0.8
        length = across * rng.uniform(0.55, 1.15) * (1 - 0.35 * abs(offset))
        way = forward + aside * (offset * rng.uniform(0, 0.6) + rng.normal(0, 0.06))
        joint = base + way * length * 0.55
        tip = joint + (way + aside * rng.normal(0, 0.2)) * length * 0.45
        finger = stroke(size, np.array([base, joint, tip]), width)
        creases = np.maximum(creases, stroke(size, np.array([base, joint]) + aside * width * 0.55, 0.09 * width))
        light = np.where(finger > 0.5, rounded(finger, width * 0.5), light)
        coverage = np.maximum(coverage, finger)
    if rng.random() < 0.8:
        arm = stroke(size, np.array([palm, palm - forward * size]), across * rng.uniform(0.75, 1.0))
        light = np.where((arm > 0.5) & (coverage < 0.5), rounded(arm, across * 0.4), light)
        coverage = np.maximum(coverage, arm)
    tone = _skin(face, rng)
    colour = shaded(size, tone, rng, 0.25) * (0.55 + 0.45 * light[..., None]) * (1 - 0.3 * creases[..., None])
    soft = blurred(coverage, size * rng.uniform(0.001, 0.004))
    return Layer(np.clip(colour, 0, 1).astype(np.float32), soft, coverage)


def _skin(face: FloatArray, rng: np.random.Generator) -> Points:
    size = len(face)
    x, y = int(rng.uniform(0.32, 0.68) * size), int(rng.uniform(0.55, 0.66) * size)
    patch = face[y : y + size // 20, x : x + size // 20].reshape(-1, 3)
    return np.clip(np.percentile(patch, 70, axis=0) * rng.uniform(0.75, 1.25) + rng.normal(0, 0.02, 3), 0, 1)


def thing(face: FloatArray, texture: FloatArray, rng: np.random.Generator) -> Layer:
    """An object: a microphone, a cup, a telephone or book, a stick, or a shapeless thing.

    Args:
        face: (S, S, 3) aligned face in [0, 1].
        texture: (S, S, 3) what its surface may show, such as another photo.
        rng: source of kind, place and surface.
    """
    size = len(face)
    at = np.array([rng.uniform(0.25, 0.75), rng.uniform(0.4, 0.95)]) * size
    if rng.random() < 0.15:
        at[1] = rng.uniform(0.15, 0.4) * size
    reach = size * rng.uniform(0.07, 0.22)
    kind = rng.choice(["microphone", "cup", "plate", "stick", "blob"])
    surface = _surface(texture, rng)
    if kind == "microphone":
        return _microphone(size, at, reach, rng)
    if kind == "stick":
        end = at + np.array([np.cos(t := rng.uniform(0, 2 * np.pi)), np.sin(t)]) * size * rng.uniform(0.25, 0.9)
        coverage = stroke(size, np.array([at, end]), size * rng.uniform(0.015, 0.07))
    elif kind == "cup":
        top, bottom, height = reach, reach * rng.uniform(0.6, 1), reach * rng.uniform(1.2, 2.6)
        corners = np.array([(-top, -height / 2), (top, -height / 2), (bottom, height / 2), (-bottom, height / 2)])
        coverage = fill(size, at + corners @ _turned(rng.normal(0, 0.3)))
    elif kind == "plate":
        box = cv2.boxPoints(((0.0, 0.0), (2 * reach, 2 * reach * rng.uniform(0.5, 2.0)), rng.uniform(-40, 40)))
        coverage = fill(size, at + np.asarray(box, np.float64))
    else:
        turn = np.linspace(0, 2 * np.pi, 8)[:-1, None]
        ring = np.hstack([np.cos(turn), np.sin(turn)]) * rng.uniform(0.6, 1.5, (7, 1)) * reach
        coverage = fill(size, at + smooth_outline(ring))
    light = 0.7 + 0.3 * rounded(coverage, reach * rng.uniform(0.1, 0.8))
    soft = blurred(coverage, size * rng.uniform(0.001, 0.004))
    return Layer(np.clip(surface * light[..., None], 0, 1).astype(np.float32), soft, coverage)


def _microphone(size: int, at: Points, reach: float, rng: np.random.Generator) -> Layer:
    """A round or oval head with a mesh or foam, and a handle that leaves downwards."""
    way = np.array([np.cos(t := rng.normal(np.pi / 2, 0.5)), np.sin(t)])
    handle = stroke(size, np.array([at, at + way * size]), reach * rng.uniform(0.4, 0.9))
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)[:, None]
    across = np.array([-way[1], way[0]])
    long = reach * rng.uniform(0.9, 1.5)
    head = fill(size, at + np.cos(turn) * way * long + np.sin(turn) * across * reach * 0.75)
    coverage = np.maximum(head, handle)
    y, x = np.mgrid[:size, :size] * (2 * np.pi / max(3.0, reach * rng.uniform(0.1, 0.25)))
    mesh = 1 + rng.choice([0.0, 0.25]) * np.sin(x + y) * np.sin(x - y)
    foam = rng.uniform(0.05, 0.35) if rng.random() < 0.7 else random_colour(rng)
    colour = np.broadcast_to(np.full(3, foam), (size, size, 3)) * mesh[..., None]
    shine = 0.45 + 0.55 * np.where(head > 0.5, rounded(head, reach * 0.7), rounded(handle, reach * 0.3))
    colour = np.where(head[..., None] > 0.5, colour, np.full(3, rng.uniform(0.03, 0.4))) * shine[..., None]
    return Layer(np.clip(colour, 0, 1).astype(np.float32), coverage, coverage)


def _surface(texture: FloatArray, rng: np.random.Generator) -> FloatArray:
    size = len(texture)
    if rng.random() < 0.5:
        return shaded(size, random_colour(rng), rng, 0.5)
    part = int(size * rng.uniform(0.2, 0.7))
    y, x = rng.integers(0, size - part, 2)
    enlarged = cv2.resize(texture[y : y + part, x : x + part], (size, size), interpolation=cv2.INTER_LINEAR)
    return np.clip(enlarged * rng.uniform(0.6, 1.3, 3), 0, 1).astype(np.float32)


def _turned(angle: float) -> Points:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
