"""An autoencoder, trained with torch, applied with numpy."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from attar.retrieval.extras import require
from attar.retrieval.reducer import FittedReducer, State
from attar.retrieval.reducers.kept import KeepingReducer, unit_rows
from attar.stores.types import Float32, Query

HIDDEN = 2
"""Width of the hidden layer, in d. The reference code's was 256 whatever the latent size."""

STEPS = 600
BATCH = 256
HELD_OUT = 0.1
CHECK = 30
"""Steps between two looks at the held-out documents."""

SIDES = ("encoder", "decoder")
PARTS = ("skip", "bias", "into", "into_bias", "out")


def mlp(x: Any, weights: Any, side: str) -> Any:
    """Apply skip(x) + bias + out relu(into(x) + into_bias) of one side; numpy arrays or tensors."""
    skip, bias, into, into_bias, out = (weights[f"{side}.{part}"] for part in PARTS)
    hidden = (x @ into + into_bias).clip(min=0)
    return x @ skip + bias + hidden @ out


@dataclass(frozen=True)
class FittedAutoencoder(FittedReducer):
    """z = encode(x / |x|), normalised: queries pass the encoder too, scores are latent cosines.

    weights: for each side skip [a b], bias [b], into [a h], into_bias [h], out [h b], float32.
    norm: typical norm of the documents, which decoded documents have.
    """

    heavy: ClassVar[bool] = True

    weights: dict[str, Float32]
    norm: float

    @property
    def width(self) -> int:
        """Dimensions e of the latent space."""
        return len(self.weights["encoder.bias"])

    def transform(self, x: Float32) -> Float32:
        """Encode and normalise."""
        z: Float32 = mlp(unit_rows(x), self.weights, "encoder")
        return unit_rows(z)

    def inverse(self, z: Float32) -> Float32:
        """Decode."""
        x: Float32 = mlp(z, self.weights, "decoder") * np.float32(self.norm)
        return x

    def prepare(self, q: Float32) -> Query:
        """Queries pass the encoder."""
        return Query(self.transform(q), np.zeros(len(q), np.float32))

    def state(self) -> State:
        """All weights and the norm."""
        return {**self.weights, "norm": np.array([self.norm])}


@dataclass(frozen=True)
class Autoencoder(KeepingReducer):
    """`autoencoder<N>`: encoder and decoder with one hidden layer of 2 d and a linear path beside.

    The linear path starts as the leading singular vectors, so that training starts where PCA (not
    centred) ends. Loss: squared error of the decoded unit vector, Adam, 600 steps of 256; the
    weights with the lowest error on a tenth that is held out are kept. Needs torch for `fit` only
    (`pip install 'attar[autoencoder]'` or any torch); a loaded codec does not.
    """

    word: ClassVar[str] = "autoencoder"
    form: ClassVar[str] = "autoencoder<N>, autoencoder<P>%"

    def min_rows(self, dim: int) -> int:
        """As many documents as latent dimensions, and ten, so that one can be held out."""
        return max(10, self.width(dim))

    def fit(self, x: Float32, seed: int) -> FittedAutoencoder:
        """Train on unit vectors. The global random state of torch is left alone."""
        self.check_rows(len(x), x.shape[1])
        norm = float(np.sqrt(np.mean(np.square(x, dtype=np.float64).sum(axis=1)))) or 1.0
        rows = unit_rows(x)
        start = _start(rows, self.width(x.shape[1]), seed)
        return FittedAutoencoder(_train(rows, start, seed), norm)

    def restore(self, dim: int, state: State) -> FittedAutoencoder:
        """The same again."""
        weights = {
            name: array.astype(np.float32, copy=False)
            for name, array in state.items()
            if name != "norm"
        }
        return FittedAutoencoder(weights, float(state["norm"][0]))


def _start(x: Float32, width: int, seed: int) -> dict[str, Float32]:
    from sklearn.utils.extmath import randomized_svd

    _, _, components = randomized_svd(x, width, random_state=seed)
    rng = np.random.default_rng(seed)
    weights: dict[str, Float32] = {}
    for side, basis in zip(SIDES, (components.T, components), strict=True):
        ins, outs = basis.shape
        hidden = HIDDEN * x.shape[1]
        weights[f"{side}.skip"] = np.ascontiguousarray(basis, dtype=np.float32)
        weights[f"{side}.bias"] = np.zeros(outs, np.float32)
        into = rng.normal(size=(ins, hidden)) * np.sqrt(2 / ins)
        weights[f"{side}.into"] = into.astype(np.float32)
        weights[f"{side}.into_bias"] = np.zeros(hidden, np.float32)
        weights[f"{side}.out"] = np.zeros((hidden, outs), np.float32)
    return weights


def _train(x: Float32, start: dict[str, Float32], seed: int) -> dict[str, Float32]:
    torch = require("torch", "autoencoder")
    generator = torch.Generator().manual_seed(seed)
    weights = {name: torch.tensor(array, requires_grad=True) for name, array in start.items()}
    optimizer = torch.optim.Adam(list(weights.values()), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    order = torch.randperm(len(x), generator=generator)
    data = torch.tensor(x)
    held = data[order[: max(1, int(HELD_OUT * len(x)))]]
    rest = data[order[len(held) :]]

    def loss(batch: Any) -> Any:
        z = mlp(batch, weights, "encoder")
        z = z / z.norm(dim=1, keepdim=True).clip(min=1e-12)
        return (mlp(z, weights, "decoder") - batch).square().sum(dim=1).mean()

    best, kept = float("inf"), start
    for step in range(STEPS + 1):
        if step % CHECK == 0:
            with torch.no_grad():
                error = float(loss(held))
            if error < best:
                best = error
                kept = {name: tensor.detach().numpy().copy() for name, tensor in weights.items()}
        rows = torch.randint(len(rest), (min(BATCH, len(rest)),), generator=generator)
        optimizer.zero_grad()
        loss(rest[rows]).backward()
        optimizer.step()
        schedule.step()
    return kept
