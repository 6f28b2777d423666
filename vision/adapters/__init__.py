"""One adapter per family of vision models."""

from attar.vision.adapters.adapt import adapt as adapt
from attar.vision.adapters.adapt import rebuild as rebuild
from attar.vision.adapters.open_clip import OpenClipViT as OpenClipViT
from attar.vision.adapters.timm import TimmViT as TimmViT
from attar.vision.adapters.transformers import ClipViT as ClipViT
from attar.vision.adapters.transformers import SiglipViT as SiglipViT
