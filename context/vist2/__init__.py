"""VIST2 (arXiv 2601.10378): old text as sketch images, its KV freed."""

from attar.context.vist2.curriculum import READING as READING
from attar.context.vist2.curriculum import STAGES as STAGES
from attar.context.vist2.curriculum import Stage as Stage
from attar.context.vist2.curriculum import train_stage as train_stage
from attar.context.vist2.encoder import SketchEncoder as SketchEncoder
from attar.context.vist2.identifiers import identifiers as identifiers
from attar.context.vist2.mask import Layout as Layout
from attar.context.vist2.mask import visible as visible
from attar.context.vist2.reader import Reader as Reader
from attar.context.vist2.renderer import Renderer as Renderer
from attar.context.vist2.vist2 import Chunk as Chunk
from attar.context.vist2.vist2 import Vist2 as Vist2
