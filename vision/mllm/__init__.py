"""Towers for multimodal language models."""

from attar.vision.mllm.llava import LlavaSlot as LlavaSlot
from attar.vision.mllm.llava import compressed_processor as compressed_processor
from attar.vision.mllm.llava import fewer_image_tokens as fewer_image_tokens
from attar.vision.mllm.tower import VisionTower as VisionTower
