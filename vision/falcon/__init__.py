"""FALCON: few register tokens per sub-image, coherent across sub-images (arXiv 2501.16297)."""

from attar.vision.falcon.crops import ShapeAdaptiveCrops as ShapeAdaptiveCrops
from attar.vision.falcon.crops import choose_grid as choose_grid
from attar.vision.falcon.projector import Projector as Projector
from attar.vision.falcon.prompt import layout as layout
from attar.vision.falcon.prompt import num_tokens as num_tokens
from attar.vision.falcon.prompt import special_tokens as special_tokens
from attar.vision.falcon.reatten import ReAtten as ReAtten
from attar.vision.falcon.recompact import ReCompact as ReCompact
from attar.vision.falcon.regen import ReGen as ReGen
from attar.vision.falcon.stages import STAGES as STAGES
from attar.vision.falcon.stages import Stage as Stage
from attar.vision.falcon.stages import apply_stage as apply_stage
