"""CompLLM (arXiv 2509.19228): contexts as independent segments, compressed to embeddings."""

from attar.context.cache.codec import Float8 as Float8
from attar.context.cache.codec import Float16 as Float16
from attar.context.cache.segment_cache import SegmentCache as SegmentCache
from attar.context.compllm.answers import Prompt as Prompt
from attar.context.compllm.answers import Writing as Writing
from attar.context.compllm.answers import write_answers as write_answers
from attar.context.compllm.compressed import CompressedContext as CompressedContext
from attar.context.compllm.compressed import kv_bytes as kv_bytes
from attar.context.compllm.compressor import CompLLM as CompLLM
from attar.context.compllm.compressor import Recipe as Recipe
from attar.context.compllm.distillation import Sample as Sample
from attar.context.compllm.distillation import distillation_loss as distillation_loss
from attar.context.compllm.prompt_embeds import prompt_embeds_part as prompt_embeds_part
from attar.context.compllm.segments import cut as cut
from attar.context.compllm.segments import segment_text as segment_text
from attar.context.compllm.training import train as train
from attar.context.training import Training as Training
