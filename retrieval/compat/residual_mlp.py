"""A linear map and a small network for what it leaves over."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike

from attar.retrieval.compat.adapter import Adapter, FittedAdapter, as_pairs
from attar.retrieval.compat.linear import aligned
from attar.retrieval.compat.ridge import Ridge
from attar.retrieval.inputs import as_vectors
from attar.stores.types import Float32


@final
@dataclass(frozen=True)
class FittedResidualMLP(FittedAdapter):
    """y = x W + relu(x A + a) B + b."""

    kind: ClassVar[str] = "residual-mlp"

    @cached_property
    def _first(self) -> tuple[Float32, Float32]:
        """W and A side by side [d e+h], and what is added to both [e+h]."""
        s = self.state
        both = np.concatenate([s["w"], s["gain"] * s["a1"]], axis=1)
        shift = np.concatenate([s["target_mean"] + s["b2"] / s["gain"], s["b1"]])
        return aligned(both), np.asarray(shift - s["source_mean"] @ both)

    @cached_property
    def _second(self) -> Float32:
        return aligned(np.asarray(self.state["a2"] / self.state["gain"]))

    def moved(self, x: Float32) -> Float32:
        """[n d] -> [n e]."""
        both, shift = self._first
        z = x @ both
        z += shift
        e = self.target_dim
        hidden = z[:, e:]
        np.maximum(hidden, 0, out=hidden)
        y: Float32 = np.asarray(hidden @ self._second)
        y += z[:, :e]
        return y

    def back(self, q: ArrayLike) -> Float32:
        """[m e] -> [m d], by the linear part alone."""
        return np.asarray(as_vectors(q, "queries", self.target_dim) @ self.state["w"].T)


@final
@dataclass(frozen=True)
class ResidualMLP(Adapter):
    """Ridge plus one hidden layer on its residual, Drift-Adapter's third form (2509.23471).

    hidden: width; 128 took 82 us a query where 32 takes half, and won nowhere. epochs: at most so
    many of Adam, less when a tenth of the pairs, held out, stops improving (scikit-learn's
    MLPRegressor).
    """

    hidden: int = 32
    epochs: int = 20

    def fit(self, source: ArrayLike, target: ArrayLike, seed: int = 0) -> FittedResidualMLP:
        """Fit on pairs; `seed` draws weights, batches and the held-out tenth."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPRegressor

        pairs = as_pairs(source, target)
        w = Ridge().fit(source, target).state["w"]
        # Components of unit vectors are near d^-1/2; networks expect them near 1.
        gain = np.float32(np.sqrt(pairs.x.shape[1]))
        model = MLPRegressor(
            hidden_layer_sizes=(self.hidden,),
            early_stopping=True,
            n_iter_no_change=3,
            max_iter=self.epochs,
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(pairs.x * gain, (pairs.y - pairs.x @ w) * gain)
        a1, a2 = (np.asarray(each, np.float32) for each in model.coefs_)
        b1, b2 = (np.asarray(each, np.float32) for each in model.intercepts_)
        state = {"w": w, "gain": np.array([gain]), "a1": a1, "b1": b1, "a2": a2, "b2": b2}
        return FittedResidualMLP({**state, **pairs.means})
