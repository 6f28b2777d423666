"""LlamaIndex: the postprocessor on real nodes."""

import asyncio

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from attar.context import estimate_tokens
from attar.context.adapters.llama_index import ContextPostprocessor


def nodes():
    texts = ["Short.", "It was mild. " * 300 + "The code is QX-4471.", "Filler here. " * 300]
    return [
        NodeWithScore(node=TextNode(text=t, id_=f"n{i}", metadata={"i": i}), score=1.0 - i / 10)
        for i, t in enumerate(texts)
    ]


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_nodes_share_a_budget(mode):
    given, before = nodes(), nodes()
    processor = ContextPostprocessor(budget=100)
    if mode == "async":
        out = asyncio.run(processor.apostprocess_nodes(given, query_str="What is the code?"))
    else:
        out = processor.postprocess_nodes(given, QueryBundle("What is the code?"))
    assert [n.node.id_ for n in out] == ["n0", "n1", "n2"] and out[0] is given[0]
    assert [n.score for n in out] == [1.0, 0.9, 0.8] and out[1].node.metadata == {"i": 1}
    assert "QX-4471" in out[1].node.text
    assert sum(estimate_tokens(n.node.text) for n in out) <= 100
    assert [n.node.text for n in given] == [n.node.text for n in before]


def test_what_has_no_room_is_dropped_and_limits_hold():
    assert len(ContextPostprocessor(budget=9).postprocess_nodes(nodes(), query_str="q")) < 3
    assert ContextPostprocessor(budget=9).postprocess_nodes([]) == []
    with pytest.raises(ValueError):
        ContextPostprocessor(budget=0)
