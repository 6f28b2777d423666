// Exact top-k over codes and canonical scores of given rows; see reference.py for the semantics.
#include "block.h"

namespace attar {

namespace {

void offer_block(const Block& block, const Queries& q, const int64_t* rows, int count,
                 std::vector<TopK>& best) {
  float out[ROWS];
  for (int64_t query = 0; query < q.m; ++query) {
    block.scores(q, query, out);
    TopK& top = best[query];
    for (int r = 0; r < count; ++r) {
      if (out[r] >= top.floor()) top.offer({out[r], rows[r]});
    }
  }
}

void scan_range(const Source& s, const Queries& q, const uint8_t* mask, int64_t first,
                int64_t last, int32_t level, std::vector<TopK>& best) {
  Block block(s, q.width, level);
  int64_t rows[ROWS];
  int count = 0;
  for (int64_t row = first; row < last; ++row) {
    if (mask && (row & 7) == 0 && mask[row >> 3] == 0) {
      row += 7;
      continue;
    }
    if (!allowed(mask, row)) continue;
    rows[count++] = row;
    if (count == ROWS) {
      block.fill(rows, count);
      offer_block(block, q, rows, count, best);
      count = 0;
    }
  }
  if (count) {
    block.fill(rows, count);
    offer_block(block, q, rows, count, best);
  }
}

}  // namespace

}  // namespace attar

// The k best rows of each query: rows int64 and scores float32 [m k], counts int64 [m]; dropped
// float32 [m] is the best score that did not fit, equal to the last one kept when ties were cut.
ATTAR_API void attar_exact_top(const attar::Source* source, const float* coords,
                               const float* constant, int64_t m, int64_t width,
                               const uint8_t* mask, int64_t k, int32_t threads, int32_t level,
                               int64_t* rows, float* scores, int64_t* counts, float* dropped) {
  using namespace attar;
  const Queries q{coords, constant, m, width};
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(threads, source->rows / 8 + 1));
  std::vector<std::vector<TopK>> best(parts, std::vector<TopK>(m, TopK(k)));
  const int64_t chunks = (source->rows + 7) / 8;
  parallel(chunks, static_cast<int32_t>(parts), [&](int64_t part, int64_t first, int64_t last) {
    scan_range(*source, q, mask, 8 * first, std::min(8 * last, source->rows), level, best[part]);
  });
  for (int64_t query = 0; query < m; ++query) {
    for (int64_t part = 1; part < parts; ++part) best[0][query].merge(best[part][query]);
    const std::vector<Hit> hits = best[0][query].sorted();
    counts[query] = static_cast<int64_t>(hits.size());
    dropped[query] = best[0][query].dropped();
    for (size_t i = 0; i < hits.size(); ++i) {
      rows[query * k + i] = hits[i].row;
      scores[query * k + i] = hits[i].score;
    }
  }
}

// Canonical scores float32 [m c] of rows int64 [m c]; a negative row gives minus infinity.
ATTAR_API void attar_exact_scores(const attar::Source* source, const float* coords,
                                  const float* constant, int64_t m, int64_t width,
                                  const int64_t* rows, int64_t c, int32_t threads, int32_t level,
                                  float* scores) {
  using namespace attar;
  const Queries q{coords, constant, m, width};
  parallel(m * c, threads, [&](int64_t, int64_t first, int64_t last) {
    Block block(*source, width, level);
    std::fill(scores + first, scores + last, -std::numeric_limits<float>::infinity());
    int64_t i = first;
    for (int64_t a = first; a < std::min(last, first + ROWS); ++a) fetch(*source, rows[a]);
    while (i < last) {
      const int64_t query = i / c, end = std::min(last, (query + 1) * c);
      int count = 0;
      while (count < ROWS && i + count < end && rows[i + count] >= 0) ++count;
      if (count == 0) {
        ++i;
        continue;
      }
      for (int64_t a = i + ROWS; a < std::min(last, i + ROWS + count); ++a) fetch(*source, rows[a]);
      block.fill(rows + i, count);
      block.scores(q, query, scores + i);
      i += count;
    }
  });
}

// Levels float32 [count width] of the given rows, or of [first, first + count), without factor.
ATTAR_API void attar_exact_levels(const attar::Source* source, const int64_t* rows, int64_t first,
                                  int64_t count, int32_t threads, int32_t level, float* y) {
  using namespace attar;
  const Decode decode = kernels(level).decode[source->kind];
  parallel(count, threads, [&](int64_t, int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      if (rows && i + ROWS < to) fetch(*source, rows[i + ROWS]);
      decode(*source, rows ? rows[i] : first + i, y + i * source->width);
    }
  });
}
