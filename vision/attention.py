"""Self-attention on uniform weights: what all families have, in one layout."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class AttentionWeights:
    """The four linear maps of one attention layer, y = x W^T + b, in the layout of nn.Linear.

    qkv: [3d d] rows of query, key, value, in this order. qkv_bias: [3d] or None. out: [d d].
    out_bias: [d] or None. heads: how many.
    """

    qkv: Tensor
    qkv_bias: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    heads: int


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[b t d] -> [b heads t d/heads]."""
    b, t, d = x.shape
    return x.reshape(b, t, heads, d // heads).transpose(1, 2)


def queries_keys_values(x: Tensor, w: AttentionWeights) -> tuple[Tensor, Tensor, Tensor]:
    """Project [b t d] to queries, keys and values, each [b heads t d/heads]."""
    q, k, v = F.linear(x, w.qkv, w.qkv_bias).chunk(3, dim=-1)
    return split_heads(q, w.heads), split_heads(k, w.heads), split_heads(v, w.heads)


def self_attention(x: Tensor, w: AttentionWeights, mask: Tensor | None = None) -> Tensor:
    """Multi-head self-attention of [b t d], scaled by 1 / sqrt(d / heads).

    mask: anything that broadcasts to [b heads t t]; bool (True = may see) or float (added).
    """
    q, k, v = queries_keys_values(x, w)
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    out: Tensor = F.linear(y.transpose(1, 2).flatten(2), w.out, w.out_bias)
    return out


def attention_map(x: Tensor, w: AttentionWeights) -> Tensor:
    """Who looks at whom: the softmax weights, averaged over the heads, [b t t] (rows sum to 1)."""
    q, k, _ = queries_keys_values(x, w)
    weights: Tensor = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1)
    return weights.mean(dim=1)
