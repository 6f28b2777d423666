"""LlamaIndex: a node postprocessor. Needs `llama-index-core`."""

from typing import Any

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from pydantic import Field

from attar.context.counting import counter
from attar.context.text.passages import shorten_together
from attar.context.text.select import Select


class ContextPostprocessor(BaseNodePostprocessor):
    """Cuts retrieved nodes to `budget` tokens together; order, scores and metadata stay.

    Nodes of which nothing is left are dropped. The nodes given are not modified. The async variant
    of LlamaIndex runs this in a thread.
    """

    budget: int = Field(gt=0)
    count: Any = None
    compressor: Any = None

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises this."""
        return "AttarContextPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        texts = [n.node.get_content(metadata_mode=MetadataMode.NONE) for n in nodes]
        query = query_bundle.query_str if query_bundle is not None else ""
        short = shorten_together(
            texts, self.budget, query, counter(self.count), self.compressor or Select()
        )
        return [
            n if old == new else _with_text(n, new)
            for n, old, new in zip(nodes, texts, short, strict=True)
            if new
        ]


def _with_text(node: NodeWithScore, text: str) -> NodeWithScore:
    copy = node.node.model_copy(deep=True)
    copy.set_content(text)
    return NodeWithScore(node=copy, score=node.score)
