"""Compressed segments, kept: bounded, checksummed, shared between processes."""

from attar.context.cache.codec import Codec as Codec
from attar.context.cache.codec import Float8 as Float8
from attar.context.cache.codec import Float16 as Float16
from attar.context.cache.fitted import Fitted as Fitted
from attar.context.cache.segment_cache import SegmentCache as SegmentCache
