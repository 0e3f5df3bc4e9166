"""Linear probes: whether a face has an attribute, told from features of networks that never learned it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
STRENGTHS = (0.3, 1.0, 3.0, 10.0)  # of the fit, inverse regularisation


@dataclass(frozen=True)
class Probe:
    """A linear probe of one attribute.

    Attributes:
        features, strength: what cross-validation chose.
        weights, offset: scores above 0 mean that a face has the attribute.
        chosen_at: balanced accuracy in cross-validation.
    """

    features: tuple[str, ...]
    strength: float
    weights: Values
    offset: float
    chosen_at: float

    def scores(self, features: Mapping[str, Array]) -> Values:
        """(N,)."""
        return np.asarray(joined(features, self.features) @ self.weights + self.offset, np.float64)


def joined(features: Mapping[str, Array], names: Sequence[str]) -> Array:
    """(N, D), every network's share of the length alike whatever its dimensions."""
    return np.concatenate([features[name] / np.sqrt(features[name].shape[1]) for name in names], 1)


def standardised(features: Mapping[str, Array], reference: Flags) -> dict[str, Array]:
    """Every dimension with mean 0 and spread 1 over the faces of `reference` (N,)."""
    return {n: (v - v[reference].mean(0)) / (v[reference].std(0) + 1e-6) for n, v in features.items()}


def balanced_accuracy(has: Flags, said: Flags) -> float:
    """Mean of the shares of hits among those that have it and those that have not."""
    return float((said[has].mean() + (~said[~has]).mean()) / 2)


def span(values: Array) -> tuple[Values, Values]:
    """Coordinates (N, K) of the rows in the space that they span, and its axes (D, K), orthonormal.

    A fit with a penalty on the length of its weights is the same in them, and quicker where D is above N.
    """
    lengths, directions = np.linalg.eigh(np.asarray(values @ values.T, np.float64))
    kept = lengths > 1e-6 * lengths[-1]
    roots = np.sqrt(lengths[kept])
    return directions[:, kept] * roots, values.T @ (directions[:, kept] / roots)


def threshold(scores: Values, has: Flags) -> float:
    """The score at which having and not having are as likely, both counted alike (after Platt 1999).

    A logistic curve over all (N,) scores; the single score at which the accuracy is highest depends on a few faces.
    """
    from sklearn.linear_model import LogisticRegression

    curve = LogisticRegression(C=1e4, class_weight="balanced").fit(scores[:, None], has)
    slope = float(curve.coef_[0, 0])
    # A probe that is no better than chance has no such score, and any border serves it.
    return -float(curve.intercept_[0]) / slope if slope > 0 else float(np.median(scores))


def fit(
    features: Mapping[str, Array], has: Flags, drawn: Flags, combinations: Sequence[tuple[str, ...]], seed: int
) -> Probe:
    """Chooses features, strength and threshold by tenfold cross-validation, and fits on all faces.

    Args:
        features: (N, D) each, standardised.
        has: (N,), the labels.
        drawn: (N,), the faces that were drawn at random; only they count in choosing.
        combinations: names of features to choose among.
        seed: of the folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds, best = StratifiedKFold(10, shuffle=True, random_state=seed), None
    for names in combinations:
        values, axes = span(joined(features, names))
        for strength in STRENGTHS:
            model = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
            scores = cross_val_predict(model, values, has, cv=folds, method="decision_function")
            border = threshold(scores[drawn], has[drawn])
            reached = balanced_accuracy(has[drawn], scores[drawn] >= border)
            if best is None or reached > best.chosen_at:
                model.fit(values, has)
                offset = float(model.intercept_[0]) - border
                best = Probe(names, strength, axes @ model.coef_[0], offset, reached)
    assert best is not None
    return best
