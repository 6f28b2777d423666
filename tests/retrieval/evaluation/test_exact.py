"""exact_topk against the plain truth, at odd sizes, with ties and at every block size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attar.retrieval.evaluation import exact_topk

METRICS = ("cosine", "ip", "l2")


def truth(q, x, k, metric, ids):
    """Every score in float64, sorted whole: slow and obvious."""
    q, x = q.astype(np.float64), x.astype(np.float64)
    answers = []
    for a in q:
        if metric == "l2":
            scores = [-float(((b - a) ** 2).sum()) for b in x]
        else:
            scores = [float((b * a).sum()) for b in x]
        if metric == "cosine":
            length = float((a * a).sum())
            scores = [
                s / np.sqrt(float((b * b).sum()) * length) for s, b in zip(scores, x, strict=True)
            ]
        order = sorted(range(len(x)), key=lambda row: (-scores[row], ids[row].encode()))[:k]
        answers.append(([ids[row] for row in order], [scores[row] for row in order]))
    return answers


def agree(hits, expected):
    for ids, scores, (want_ids, want_scores) in zip(hits.ids, hits.scores, expected, strict=True):
        assert ids.tolist() == want_ids
        assert np.array_equal(scores, np.array(want_scores, np.float32))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n", "d", "k"), [(1, 1, 1), (63, 5, 10), (100, 17, 100), (1000, 48, 7)])
def test_is_the_truth(metric, n, d, k):
    draw = np.random.default_rng(n)
    x = draw.standard_normal((n, d)).astype(np.float32) * 3
    q = draw.standard_normal((4, d)).astype(np.float32)
    ids = [f"d{row * 7919 % n}" for row in range(n)]
    agree(exact_topk(q, x, k, metric, ids, block=37), truth(q, x, k, metric, ids))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    metric=st.sampled_from(METRICS),
    n=st.integers(1, 60),
    d=st.integers(1, 40),
    k=st.integers(1, 12),
    block=st.integers(1, 70),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
)
def test_is_the_truth_with_many_ties(seed, metric, n, d, k, block, scale):
    draw = np.random.default_rng(seed)
    # Few different vectors: most scores tie, some of them only to the last bit.
    few = draw.standard_normal((4, d)).astype(np.float32) * scale
    x = few[draw.integers(0, 4, n)] * draw.choice([1.0, 1.0000001], (n, 1)).astype(np.float32)
    q = few[:3]
    ids = [str(row) for row in draw.permutation(n)]
    agree(exact_topk(q, x, k, metric, ids, block), truth(q, x, k, metric, ids))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), metric=st.sampled_from(METRICS))
def test_norms_that_grow_along_the_file_lose_nothing(seed, metric):
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((200, 24)) * np.geomspace(1e-2, 1e3, 200)[:, None]
    if seed % 2:
        x = x[::-1]
    x = x.astype(np.float32)
    q = draw.standard_normal((3, 24)).astype(np.float32)
    ids = [str(row) for row in range(200)]
    agree(exact_topk(q, x, 5, metric, block=16), truth(q, x, 5, metric, ids))


def test_far_from_the_origin_l2_is_still_exact():
    """Float32 products lose every digit here; only the rescoring in float64 can be right."""
    draw = np.random.default_rng(0)
    x = (draw.standard_normal((300, 8)) + 3000).astype(np.float32)
    q = (draw.standard_normal((5, 8)) + 3000).astype(np.float32)
    ids = [str(row) for row in range(300)]
    agree(exact_topk(q, x, 10, "l2", block=64), truth(q, x, 10, "l2", ids))


def test_ties_go_by_the_bytes_of_the_id():
    x = np.ones((5, 3), np.float32)
    ids = ["b", "ä", "10", "9", "B"]
    hits = exact_topk(x[:1], x, 5, ids=ids, block=2)
    assert hits.ids[0].tolist() == ["10", "9", "B", "b", "ä"]
    assert exact_topk(x[:1], np.ones((12, 3)), 3).ids[0].tolist() == ["0", "1", "10"]


def test_k_beyond_n_and_no_queries():
    x = np.eye(3, dtype=np.float32)
    assert exact_topk(x, x, 10).ids.shape == (3, 3)
    assert exact_topk(x[:0], x, 2).ids.shape == (0, 2)
    assert exact_topk(x, x[:0], 2, "ip").ids.shape == (3, 0)


def test_memory_mapped_half_precision(tmp_path):
    x = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    q = np.random.default_rng(1).standard_normal((3, 6))
    ids = [str(row) for row in range(50)]
    agree(exact_topk(q, mapped, 4), truth(q.astype(np.float32), x, 4, "cosine", ids))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k and block"),
        ({"metric": "dot"}, "cosine, ip or l2, got 'dot'"),
        ({"ids": ["a"]}, "got 1 for 3 documents"),
        ({"queries": np.ones((1, 4))}, r"same d, got \[1, 4\] and \[3, 3\]"),
        ({"queries": np.ones(3)}, r"got \[3\]"),
        ({"documents": np.diag([1.0, np.nan, 1.0])}, "NaN or infinity in document row 1"),
        ({"documents": np.diag([1.0, 1.0, 0.0])}, "zero vector.*document row 2"),
        ({"queries": np.zeros((1, 3))}, "zero vector.*query row 0"),
    ],
)
def test_bad_input_is_named(change, message):
    given = {"queries": np.ones((1, 3)), "documents": np.eye(3), "k": 1, "block": 1}
    with pytest.raises(ValueError, match=message):
        exact_topk(**{**given, **change})
