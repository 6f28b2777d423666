"""Ways of having fewer image tokens, with one interface."""

from attar.vision.reducers.all_tokens import AllTokens as AllTokens
from attar.vision.reducers.average_pool import AveragePool as AveragePool
from attar.vision.reducers.downsample import Downsample as Downsample
from attar.vision.reducers.pixel_shuffle import PixelShuffle as PixelShuffle
from attar.vision.reducers.random_tokens import RandomTokens as RandomTokens
from attar.vision.reducers.reducer import Reducer as Reducer
from attar.vision.reducers.resampler import PerceiverResampler as PerceiverResampler
from attar.vision.reducers.tome import ToMe as ToMe
