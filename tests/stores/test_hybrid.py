import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import attar
from attar.stores.disk.repair import repair
from attar.stores.hybrid.fuse import best, reciprocal_rank, weighted
from attar.stores.hybrid.mmr import maximal_marginal_relevance
from attar.stores.hybrid.shape import above, grouped
from attar.stores.hybrid.text_index import match_expression
from attar.stores.store import Store
from tests.stores.worlds import DIM, Words, documents, names, reopen

TEXTS = [
    "the red fish swims",
    "a blue fish sleeps",
    "green tea in the morning",
    "naïve café owners drink tea",
    "red red wine",
    None,
    "compilers and linkers",
]


@pytest.fixture
def store(tmp_path):
    codec = attar.codec("float32")
    with Store.create(tmp_path / "s", codec, encoder=Words(), text_index=True) as one:
        ids = [f"t{i}" for i in range(len(TEXTS))]
        x = Words().encode_documents([t or "nothing" for t in TEXTS])
        notes = [{"doc": i // 2, "a": {"b": i % 3}} for i in range(len(TEXTS))]
        one.add(ids, x, TEXTS, notes)
        yield one


def ids_of(hits, row=0):
    return [name for name in hits.ids[row] if name is not None]


def bm25(texts, words, k1=1.2, b=0.75):
    """BM25 as FTS5 documents it: idf with a floor of 1e-6."""
    lists = [(t or "").lower().split() for t in texts]
    mean = sum(map(len, lists)) / len(lists)
    scores = []
    for tokens in lists:
        total = 0.0
        for word in words:
            n = sum(word in other for other in lists)
            idf = max(math.log((len(lists) - n + 0.5) / (n + 0.5)), 1e-6)
            f = tokens.count(word)
            total += idf * f * (k1 + 1) / (f + k1 * (1 - b + b * len(tokens) / mean))
        scores.append(total)
    return scores


def test_words_alone_are_bm25(store):
    hits = store.search(text="red tea", k=10, alpha=0)
    truth = bm25(TEXTS, ["red", "tea"])
    order = sorted((i for i in range(7) if truth[i] > 0), key=lambda i: (-truth[i], f"t{i}"))
    assert ids_of(hits) == [f"t{i}" for i in order]
    values = np.array([truth[i] for i in order])
    scaled = (values - values.min()) / (values.max() - values.min())
    np.testing.assert_allclose(hits.scores[0], scaled, atol=1e-5)


def test_accents_and_case_do_not_matter(store):
    assert ids_of(store.search(text="NAIVE Cafe", alpha=0)) == ["t3"]


@pytest.mark.parametrize(
    "question", ['"', "fish AND", "NEAR(", "text:red", "*", "-red", "^a", "a OR", "'", "\x00", "🐟"]
)
def test_query_syntax_is_only_words(store, question):
    words = set(re.findall(r"\w+", question.lower()))
    for name in ids_of(store.search(text=question, alpha=0)):
        assert words & set(TEXTS[int(name[1:])].split())
    assert store.search(text=[question, "red"], alpha=0).ids.shape[0] == 2


def test_no_words_no_hits(store):
    assert store.search(text="?!", alpha=0).ids.shape == (1, 0)
    assert store.search(text=[], alpha=0).ids.shape == (0, 0)


def test_vectors_and_words_fuse_by_rank(store):
    query = Words().encode_queries(["green tea"])
    dense = ids_of(store.search(query, k=7))
    sparse = ids_of(store.search(text="red fish", k=7, alpha=0))
    both = store.search(query, k=7, text="red fish")
    scores = {n: 1 / (61 + dense.index(n)) for n in dense}
    for place, name in enumerate(sparse):
        scores[name] += 1 / (61 + place)
    expected = sorted(scores, key=lambda n: (-scores[n], n))
    assert ids_of(both) == expected
    np.testing.assert_allclose(both.scores[0], [scores[n] for n in expected], rtol=1e-6)


def test_alpha_goes_from_words_to_vectors(store):
    vectors = ids_of(store.search(text="red fish", k=7))
    assert ids_of(store.search(text="red fish", k=7, alpha=1)) == vectors
    words = ids_of(store.search(text="red fish", k=7, alpha=0))
    assert ids_of(store.search(text="red fish", k=7, alpha=0.0)) == words
    middle = store.search(text=["red fish", "blue"], k=3, alpha=0.5)
    assert middle.ids.shape == (2, 3)
    assert ids_of(middle)[0] == "t0"


def test_words_follow_changes_filters_and_reopening(store):
    store.delete(["t0"])
    store.upsert(["t1"], documents(1), ["red herring"], [{"doc": 9}])
    assert set(ids_of(store.search(text="red fish", alpha=0))) == {"t1", "t4"}
    assert ids_of(store.search(text="red", alpha=0, filter={"doc": 9})) == ["t1"]
    store.compact()
    assert store.verify().problems == ()
    path = store.path
    store.close()
    with reopen(path) as reader:
        assert set(ids_of(reader.search(text="red fish", alpha=0))) == {"t1", "t4"}
    repair(path)
    with reopen(path, "w") as writer:
        assert set(ids_of(writer.search(text="red fish", alpha=0))) == {"t1", "t4"}
        assert writer.verify().problems == ()


def test_an_index_made_later_is_the_same(tmp_path, store):
    with Store.create(tmp_path / "later", attar.codec("float32")) as other:
        other.add([f"t{i}" for i in range(7)], documents(7), TEXTS)
        with pytest.raises(ValueError, match="index_texts"):
            other.search(text="red", alpha=0)
        other.index_texts()
        other.index_texts()
        a, b = (one.search(text="red tea fish", alpha=0) for one in (other, store))
        assert (a.ids == b.ids).all()
        assert (a.scores == b.scores).all()


def test_pages_neither_overlap_nor_miss(store):
    whole = store.search(np.ones(DIM), k=7)
    pages = [store.search(np.ones(DIM), k=2, offset=o) for o in (0, 2, 4, 6, 8)]
    assert [i for page in pages for i in ids_of(page)] == ids_of(whole)
    fused = ids_of(store.search(np.ones(DIM), k=7, text="red"))
    parts = [ids_of(store.search(np.ones(DIM), k=3, text="red", offset=o)) for o in (0, 3, 6)]
    assert sum(parts, []) == fused


def test_thresholds_pad_the_rectangle(store):
    queries = np.stack([np.ones(DIM), -np.ones(DIM)])
    whole = store.search(queries, k=7)
    least = float(whole.scores[0, 3])
    hits = store.search(queries, k=7, min_score=least)
    assert ids_of(hits) == list(whole.ids[0, :4])
    assert len(ids_of(hits, 1)) == (whole.scores[1] >= least).sum()
    assert all(s == -np.inf for i, s in zip(hits.ids[1], hits.scores[1], strict=True) if i is None)


def test_groups_keep_the_best_of_each(store):
    whole = ids_of(store.search(np.ones(DIM), k=7))
    expected, seen = [], set()
    for name in whole:
        if int(name[1:]) // 2 not in seen:
            expected.append(name)
            seen.add(int(name[1:]) // 2)
    assert ids_of(store.search(np.ones(DIM), k=7, group_by="doc")) == expected
    assert ids_of(store.search(np.ones(DIM), k=2, group_by="doc")) == expected[:2]
    nested = ids_of(store.search(np.ones(DIM), k=7, group_by="a.b", group_size=2))
    assert len(nested) == 6


def test_grouping_looks_further_until_it_has_k(tmp_path):
    n = 300
    x = documents(n)
    with Store.create(tmp_path / "s", attar.codec("float32")) as store:
        store.add(names(n), x, metadata=[{"g": int(i >= 290)} for i in range(n)])
        order = ids_of(store.search(x[0], k=n))
        first = next(i for i in order if int(i[1:]) >= 290)
        hits = ids_of(store.search(x[0], k=2, group_by="g"))
        assert set(hits) == {order[0], first} or int(order[0][1:]) >= 290
        assert len(hits) == 2


def test_several_queries_become_one_ranking(store):
    queries = np.stack([np.ones(DIM), np.arange(DIM) - 3.0])
    rankings = [ids_of(store.search(q, k=7)) for q in queries]
    scores = {n: sum(1 / (61 + r.index(n)) for r in rankings) for n in rankings[0]}
    expected = sorted(scores, key=lambda n: (-scores[n], n))[:3]
    assert [name for name, _ in store.search_fused(queries, 3)] == expected


def test_diverse_search_skips_twins(tmp_path):
    x = documents(20)
    twins = np.concatenate([x, x[:5] * 1.0001])
    with Store.create(tmp_path / "s", attar.codec("float32")) as store:
        store.add(names(25), twins)
        query = x[0]
        assert set(ids_of(store.search(query, k=2))) == {"d0", "d20"}
        diverse = ids_of(store.search_diverse(query, k=2, fetch_k=25, lambda_mult=0.3))
        assert len(set(diverse) & {"d0", "d20"}) == 1
        same = ids_of(store.search_diverse(query, k=6, fetch_k=25, lambda_mult=1.0))
        assert set(same) == set(ids_of(store.search(query, k=6)))


@given(st.lists(st.lists(st.sampled_from("abcdef"), unique=True), max_size=4))
@settings(deadline=None)
def test_reciprocal_rank_is_its_sum(rankings):
    fused = reciprocal_rank(rankings)
    assert set(fused) == {name for r in rankings for name in r}
    for name, score in fused.items():
        assert math.isclose(score, sum(1 / (60 + r.index(name) + 1) for r in rankings if name in r))
    assert [n for n, _ in best(fused, 3)] == sorted(fused, key=lambda n: (-fused[n], n))[:3]


@given(
    st.dictionaries(st.sampled_from("abcd"), st.floats(-5, 5)),
    st.dictionaries(st.sampled_from("abcd"), st.floats(-5, 5)),
    st.floats(0, 1),
)
@settings(deadline=None)
def test_weighted_stays_in_the_unit_interval(dense, sparse, alpha):
    fused = weighted(dense, sparse, alpha)
    assert all(-1e-9 <= value <= 1 + 1e-9 for value in fused.values())
    assert set(weighted(dense, sparse, 1)) == set(dense)
    assert set(weighted(dense, sparse, 0)) == set(sparse)


def test_mmr_is_greedy_by_its_formula():
    x, query = documents(8, seed=3), documents(1, seed=4)[0]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    asked = query / np.linalg.norm(query)
    taken = [int(np.argmax(unit @ asked))]
    while len(taken) < 4:
        value = {
            i: 0.6 * unit[i] @ asked - 0.4 * max(unit[i] @ unit[j] for j in taken)
            for i in range(8)
            if i not in taken
        }
        taken.append(max(value, key=value.get))
    assert maximal_marginal_relevance(query, x, 4, 0.6).tolist() == taken
    with pytest.raises(ValueError, match="lambda_mult"):
        maximal_marginal_relevance(query, x, 4, 1.1)


def test_shapes_are_pure():
    ranking = [("a", 3.0), ("b", 2.0), ("c", 1.0)]
    assert above(ranking, 2.0) == ranking[:2]
    assert grouped(ranking, {"a": 1, "b": 1}, 1) == [("a", 3.0), ("c", 1.0)]
    assert grouped(ranking, {"a": 1, "b": True}, 1) == ranking
    assert match_expression('say "hi" hi') == '"say" OR "hi"'
