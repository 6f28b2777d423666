// Best-first walk over a graph of rows; see __init__.py for what it does and reference.py for the
// same in numpy.
#include "../exact/calls.h"

namespace attar {

namespace {

constexpr uint32_t NOWHERE = 0xffffffffu;
constexpr int64_t LINE = 64;
constexpr size_t SOON = AHEAD;

struct Graph {
  const uint8_t* codes;
  const uint32_t* links;
  const uint32_t* entries;
  int64_t rows, width, degree, entry_count;
};

using Dot8 = int32_t (*)(const uint8_t* x, const int8_t* q, int64_t n);

int32_t portable_dot(const uint8_t* x, const int8_t* q, int64_t n) {
  int32_t sum = 0;
  for (int64_t j = 0; j < n; ++j) sum += static_cast<int32_t>(x[j]) * q[j];
  return sum;
}

#ifdef ATTAR_X86

// Both sides as int16: sums of pairs of products of bytes would saturate.
ATTAR_AVX2 int32_t avx2_dot(const uint8_t* x, const int8_t* q, int64_t n) {
  __m256i sums = _mm256_setzero_si256();
  for (int64_t j = 0; j < n; j += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + j));
    const __m128i query = _mm_loadu_si128(reinterpret_cast<const __m128i*>(q + j));
    const __m256i pairs = _mm256_madd_epi16(_mm256_cvtepu8_epi16(bytes), _mm256_cvtepi8_epi16(query));
    sums = _mm256_add_epi32(sums, pairs);
  }
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

ATTAR_AVX512 int32_t avx512_dot(const uint8_t* x, const int8_t* q, int64_t n) {
  __m512i even = _mm512_setzero_si512(), odd = even;
  int64_t j = 0;
  for (; j + 2 * LINE <= n; j += 2 * LINE) {
    even = _mm512_dpbusd_epi32(even, _mm512_loadu_si512(x + j), _mm512_loadu_si512(q + j));
    odd = _mm512_dpbusd_epi32(odd, _mm512_loadu_si512(x + j + LINE), _mm512_loadu_si512(q + j + LINE));
  }
  if (j < n) even = _mm512_dpbusd_epi32(even, _mm512_loadu_si512(x + j), _mm512_loadu_si512(q + j));
  return _mm512_reduce_add_epi32(_mm512_add_epi32(even, odd));
}

#endif

#ifdef ATTAR_ARM

// (x - 128) q: instructions that multiply signed by unsigned bytes came later. What is missing, 128
// times the sum of q, is the same for every row and changes no order.
ATTAR_DOTPROD int32_t neon_dot(const uint8_t* x, const int8_t* q, int64_t n) {
  int32x4_t even = vdupq_n_s32(0), odd = even;
  const uint8x16_t middle = vdupq_n_u8(0x80);
  for (int64_t j = 0; j < n; j += 32) {
    const uint8x16_t a = veorq_u8(vld1q_u8(x + j), middle);
    const uint8x16_t b = veorq_u8(vld1q_u8(x + j + 16), middle);
    even = vdotq_s32(even, vreinterpretq_s8_u8(a), vld1q_s8(q + j));
    odd = vdotq_s32(odd, vreinterpretq_s8_u8(b), vld1q_s8(q + j + 16));
  }
  return vaddvq_s32(vaddq_s32(even, odd));
}

#endif

Dot8 dot_of(int32_t level) {
#ifdef ATTAR_X86
  if (level >= AVX512) return avx512_dot;
  if (level == AVX2) return avx2_dot;
#endif
#ifdef ATTAR_ARM
  if (level == NEON) return neon_dot;
#endif
  (void)level;
  return portable_dot;
}

struct Place {
  int32_t score;
  uint32_t row;
  bool expanded;
};

inline bool before(int32_t score, uint32_t row, const Place& other) {
  return score > other.score || (score == other.score && row < other.row);
}

// The best rows met, in order, and which of them is to be expanded next.
class Pool {
 public:
  explicit Pool(size_t window) : window_(window) { places_.reserve(window + 1); }

  void clear() {
    places_.clear();
    next_ = 0;
  }

  void offer(int32_t score, uint32_t row) {
    if (places_.size() == window_) {
      if (!before(score, row, places_.back())) return;
      places_.pop_back();
    }
    const auto less = [row](int32_t s, const Place& place) { return before(s, row, place); };
    const auto at = std::upper_bound(places_.begin(), places_.end(), score, less);
    next_ = std::min(next_, static_cast<size_t>(at - places_.begin()));
    places_.insert(at, Place{score, row, false});
  }

  // The best row that was not expanded, now taken as expanded; NOWHERE when all were.
  uint32_t take() {
    while (next_ < places_.size() && places_[next_].expanded) ++next_;
    if (next_ == places_.size()) return NOWHERE;
    places_[next_].expanded = true;
    return places_[next_].row;
  }

  // The row that is probably taken next, NOWHERE when there is none.
  uint32_t peek() const {
    size_t at = next_;
    while (at < places_.size() && places_[at].expanded) ++at;
    return at < places_.size() ? places_[at].row : NOWHERE;
  }

  const std::vector<Place>& places() const { return places_; }

 private:
  size_t window_, next_ = 0;
  std::vector<Place> places_;
};

class Walker {
 public:
  Walker(const Graph& graph, int64_t window, int32_t level)
      : graph_(graph),
        dot_(dot_of(level)),
        pool_(static_cast<size_t>(window)),
        met_(static_cast<size_t>((graph.rows + 63) / 64)) {}

  const std::vector<Place>& operator()(const int8_t* query) {
    pool_.clear();
    meet(graph_.entries, graph_.entry_count, query);
    for (uint32_t row = pool_.take(); row != NOWHERE; row = pool_.take()) {
      const uint32_t next = pool_.peek();
      if (next != NOWHERE) fetch(links(next), graph_.degree * 4);
      meet(links(row), graph_.degree, query);
    }
    for (const uint32_t word : touched_) met_[word] = 0;
    touched_.clear();
    return pool_.places();
  }

 private:
  const uint32_t* links(uint32_t row) const { return graph_.links + row * graph_.degree; }
  const uint8_t* codes(uint32_t row) const { return graph_.codes + row * graph_.width; }

  void meet(const uint32_t* rows, int64_t count, const int8_t* query) {
    fresh_.clear();
    for (int64_t i = 0; i < count && rows[i] != NOWHERE; ++i) {
      uint64_t& word = met_[rows[i] >> 6];
      const uint64_t bit = uint64_t{1} << (rows[i] & 63);
      if (word & bit) continue;
      if (word == 0) touched_.push_back(rows[i] >> 6);
      word |= bit;
      if (fresh_.size() < SOON) fetch(codes(rows[i]), graph_.width);
      fresh_.push_back(rows[i]);
    }
    for (size_t i = 0; i < fresh_.size(); ++i) {
      if (i + SOON < fresh_.size()) fetch(codes(fresh_[i + SOON]), graph_.width);
      pool_.offer(dot_(codes(fresh_[i]), query, graph_.width), fresh_[i]);
    }
  }

  const Graph& graph_;
  Dot8 dot_;
  Pool pool_;
  std::vector<uint64_t> met_;
  std::vector<uint32_t> touched_, fresh_;
};

}  // namespace

}  // namespace attar

// For queries int8 [m width] the best rows met: out int64 [m window], best first, -1 behind.
ATTAR_API void attar_walk(const void* graph, const int8_t* queries, int64_t m, int64_t window,
                          int32_t threads, int32_t level, int64_t* out) {
  using namespace attar;
  const Graph& g = *static_cast<const Graph*>(graph);
  parallel(m, threads, [&](int64_t, int64_t first, int64_t last) {
    Walker walker(g, window, level);
    for (int64_t q = first; q < last; ++q) {
      const std::vector<Place>& places = walker(queries + q * g.width);
      int64_t* best = out + q * window;
      for (int64_t i = 0; i < window; ++i) {
        const bool there = i < static_cast<int64_t>(places.size());
        best[i] = there ? static_cast<int64_t>(places[i].row) : -1;
      }
    }
  });
}

// What attar_walk_top refines with: the codes, and the queries in the form of each of its stages.
struct Refinement {
  const attar::Source* source;
  const uint8_t* table;    // as attar_exact_near, null without `near`
  const int16_t* near;     // int16 [m width] or null: all rows get a canonical score
  const float* near_scale;
  const float* constant;   // float32 [m]
  const float* coords;     // float32 [m wide]
  int64_t wide;
  const uint8_t* mask;     // bits of the allowed rows, or null
  int64_t looked, kept;    // rows of the pool that are refined; of them with canonical scores
};

// A walk for each query, of its pool the first `looked` allowed rows, of those the `kept` nearest,
// of those the k best: rows int64 and scores float32 [m k], -1 and minus infinity behind.
ATTAR_API void attar_walk_top(const void* graph, const Refinement* refinement,
                              const int8_t* queries, int64_t m, int64_t window, int64_t k,
                              int32_t threads, int32_t level, int64_t* rows, float* scores) {
  using namespace attar;
  const Graph& g = *static_cast<const Graph*>(graph);
  const Refinement& r = *refinement;
  parallel(m, threads, [&](int64_t, int64_t first, int64_t last) {
    Walker walker(g, window, level);
    std::vector<int64_t> met, near;
    std::vector<float> exact;
    std::vector<Hit> hits;
    for (int64_t q = first; q < last; ++q) {
      met.clear();
      for (const Place& place : walker(queries + q * g.width)) {
        if (static_cast<int64_t>(met.size()) == r.looked) break;
        if (allowed(r.mask, place.row)) met.push_back(place.row);
      }
      const auto count = static_cast<int64_t>(met.size());
      near = met;
      if (r.near && r.kept < count) {
        near.resize(static_cast<size_t>(r.kept));
        attar_exact_near(r.source, r.table, r.near + q * r.source->width, r.near_scale + q,
                         r.constant + q, 1, met.data(), count, r.kept, 1, level, near.data());
      }
      exact.resize(near.size());
      attar_exact_scores(r.source, r.coords + q * r.wide, r.constant + q, 1, r.wide, near.data(),
                         static_cast<int64_t>(near.size()), 1, level, exact.data());
      hits.clear();
      for (size_t i = 0; i < near.size(); ++i) hits.push_back({exact[i], near[i]});
      std::sort(hits.begin(), hits.end(), better);
      for (int64_t i = 0; i < k; ++i) {
        const bool there = i < static_cast<int64_t>(hits.size());
        rows[q * k + i] = there ? hits[i].row : -1;
        scores[q * k + i] = there ? hits[i].score : -std::numeric_limits<float>::infinity();
      }
    }
  });
}
