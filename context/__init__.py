"""Prompts and conversations, several times smaller: text, embeddings, images; and a middleware.

What needs torch lives in `attar.context.compllm` and `attar.context.vist2`, what needs a framework
in `attar.context.adapters`, the server in `attar.context.proxy`; none of them is imported here.
"""

from attar.context.counting import Counter as Counter
from attar.context.counting import counter as counter
from attar.context.counting import estimate_tokens as estimate_tokens
from attar.context.middleware.compaction import BudgetError as BudgetError
from attar.context.middleware.compactor import Compactor as Compactor
from attar.context.middleware.compactor import Result as Result
from attar.context.middleware.compactor import compress as compress
from attar.context.middleware.memory import Memory as Memory
from attar.context.middleware.originals import Originals as Originals
from attar.context.middleware.report import Prices as Prices
from attar.context.middleware.report import Report as Report
from attar.context.middleware.view import MessageError as MessageError
from attar.context.ratio import compression as compression
from attar.context.ratio import from_rate as from_rate
from attar.context.ratio import from_removed as from_removed
from attar.context.ratio import to_rate as to_rate
from attar.context.ratio import to_removed as to_removed
from attar.context.text.embedded import EncoderScore as EncoderScore
from attar.context.text.select import Select as Select
from attar.context.text.truncate import Truncate as Truncate
