"""Changing the embedding model: whether to, how, and what to train so that it is free."""

from attar.retrieval.compat.anchor_drift import AnchorDrift as AnchorDrift
from attar.retrieval.compat.anchor_drift import anchor_drift as anchor_drift
from attar.retrieval.compat.choosing import choose_bridge as choose_bridge
from attar.retrieval.compat.compatibility import CompatibilityMatrix as CompatibilityMatrix
from attar.retrieval.compat.compatibility import empirical_criterion as empirical_criterion
from attar.retrieval.compat.kronecker import Kronecker as Kronecker
from attar.retrieval.compat.low_rank_affine import LowRankAffine as LowRankAffine
from attar.retrieval.compat.options import Sample as Sample
from attar.retrieval.compat.options import measure_options as measure_options
from attar.retrieval.compat.procrustes import Procrustes as Procrustes
from attar.retrieval.compat.rescoring import Rescoring as Rescoring
from attar.retrieval.compat.residual_mlp import ResidualMLP as ResidualMLP
from attar.retrieval.compat.ridge import Ridge as Ridge
from attar.retrieval.compat.simplex import DSimplex as DSimplex
from attar.retrieval.compat.simplex import simplex_vertices as simplex_vertices
from attar.retrieval.compat.simplex_head import HeadedEncoder as HeadedEncoder
from attar.retrieval.compat.simplex_head import SimplexHead as SimplexHead
from attar.retrieval.compat.simplex_head import load_head as load_head
from attar.retrieval.compat.verdict import judge as judge
