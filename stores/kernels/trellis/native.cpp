// The trellis search of reference.py, sixteen rows at a time; the same operations in the same
// order for each row, so that the bits agree.
#include "../native.h"

#include <cmath>

namespace attar {

namespace {

constexpr int ROWS = 16;
constexpr int MOST_STATES = 64;
constexpr int COST_BINS = 128;
constexpr float COST_PER_UNIT = 16;
constexpr float COST_REACH = COST_BINS / COST_PER_UNIT;

// Tables of width w begin at (w - 1) times their size; width, weight [dim]; u and the outputs per
// dimension are [n dim], those per row [n].
struct Search {
  int64_t dim;
  int32_t states, bins, gains;
  const uint8_t* subset;     // [2 states]
  const int32_t* width;
  const float* weight;
  const uint16_t* index;     // [4 bins] a width
  const float* level;        // [4 bins] a width
  const float* reach;
  const float* per_unit;
  const float* cost;         // [COST_BINS] a width
  const float* outermost;
  const float* gain;         // [gains]
  const float* inverse;      // [gains]
  const float* u;
  uint8_t* cells;
  uint8_t* trellis;
  uint8_t* chosen;
  double* along;
  double* power;
};

struct Scratch {
  std::vector<uint16_t> came;  // [dim states], a bit a row
  std::vector<uint16_t> bin;   // [dim ROWS]
  std::vector<float> x;        // [dim ROWS]
  explicit Scratch(const Search& s)
      : came(s.dim * s.states), bin(s.dim * ROWS), x(s.dim * ROWS) {}
};

#define ATTAR_INLINE inline __attribute__((always_inline))

// Rows first … first + rows - 1 side by side; the last one fills the block.
ATTAR_INLINE void gather_rows(const Search& s, int64_t first, int rows, float* __restrict x) {
  for (int r = 0; r < ROWS; ++r) {
    const float* row = s.u + (first + std::min(r, rows - 1)) * s.dim;
    for (int64_t j = 0; j < s.dim; ++j) x[j * ROWS + r] = row[j];
  }
}

// The gain of each row that is expected to leave the least error; x becomes x / gain.
ATTAR_INLINE void choose_gains(const Search& s, float* __restrict x, int32_t* __restrict best) {
  float least[ROWS];
  for (int k = 0; k < s.gains; ++k) {
    const float inverse = s.inverse[k];
    float sum[ROWS] = {};
    for (int64_t j = 0; j < s.dim; ++j) {
      const int w = s.width[j] - 1;
      const float* cost = s.cost + w * COST_BINS;
      const float weight = s.weight[j], outermost = s.outermost[w];
      for (int r = 0; r < ROWS; ++r) {
        const float size = std::abs(x[j * ROWS + r]) * inverse;
        const float inside = size < COST_REACH ? size : COST_REACH;
        const int32_t at = static_cast<int32_t>(inside * COST_PER_UNIT);
        const float near = cost[at < COST_BINS - 1 ? at : COST_BINS - 1];
        const float over = size - outermost;
        sum[r] += (size < COST_REACH ? near : over * over) * weight;
      }
    }
    const float square = s.gain[k] * s.gain[k];
    for (int r = 0; r < ROWS; ++r) {
      const float error = sum[r] * square;
      const bool better = k == 0 || error < least[r];
      least[r] = better ? error : least[r];
      best[r] = better ? k : best[r];
    }
  }
  float inverse[ROWS];
  for (int r = 0; r < ROWS; ++r) inverse[r] = s.inverse[best[r]];
  for (int64_t j = 0; j < s.dim; ++j) {
    for (int r = 0; r < ROWS; ++r) x[j * ROWS + r] *= inverse[r];
  }
}

// Bins of dimension j and the distances to the nearest level of each subset, [4 ROWS].
ATTAR_INLINE void distances(const Search& s, int64_t j, const float* __restrict x,
                            uint16_t* __restrict bin, float* __restrict dist) {
  const int w = s.width[j] - 1;
  const float reach = s.reach[w], per_unit = s.per_unit[w], weight = s.weight[j];
  int32_t place[ROWS];
  for (int r = 0; r < ROWS; ++r) {
    float v = x[r] < -reach ? -reach : x[r];
    v = v > reach ? reach : v;
    const int32_t at = static_cast<int32_t>((v + reach) * per_unit);
    place[r] = at < s.bins - 1 ? at : s.bins - 1;
    bin[r] = static_cast<uint16_t>(place[r]);
  }
  for (int c = 0; c < 4; ++c) {
    const float* level = s.level + (static_cast<int64_t>(w) * 4 + c) * s.bins;
    for (int r = 0; r < ROWS; ++r) {
      const float error = x[r] - level[place[r]];
      dist[c * ROWS + r] = error * error * weight;
    }
  }
}

// next = min(low, high); the bits of the rows where high is less.
ATTAR_INLINE uint16_t lesser(const float* low, const float* low_dist, const float* high,
                             const float* high_dist, float* __restrict next) {
  uint32_t bits = 0;
  for (int r = 0; r < ROWS; ++r) {
    const float a = low[r] + low_dist[r], b = high[r] + high_dist[r];
    bits |= static_cast<uint32_t>(b < a) << r;
    next[r] = b < a ? b : a;
  }
  return static_cast<uint16_t>(bits);
}

#ifdef ATTAR_X86
ATTAR_AVX2 inline uint16_t lesser_avx2(const float* low, const float* low_dist, const float* high,
                                       const float* high_dist, float* next) {
  uint32_t bits = 0;
  for (int r = 0; r < ROWS; r += 8) {
    const __m256 a = _mm256_add_ps(_mm256_loadu_ps(low + r), _mm256_loadu_ps(low_dist + r));
    const __m256 b = _mm256_add_ps(_mm256_loadu_ps(high + r), _mm256_loadu_ps(high_dist + r));
    const __m256 less = _mm256_cmp_ps(b, a, _CMP_LT_OQ);
    _mm256_storeu_ps(next + r, _mm256_blendv_ps(a, b, less));
    bits |= static_cast<uint32_t>(_mm256_movemask_ps(less)) << r;
  }
  return static_cast<uint16_t>(bits);
}

ATTAR_AVX512 inline uint16_t lesser_avx512(const float* low, const float* low_dist,
                                           const float* high, const float* high_dist,
                                           float* next) {
  const __m512 a = _mm512_add_ps(_mm512_loadu_ps(low), _mm512_loadu_ps(low_dist));
  const __m512 b = _mm512_add_ps(_mm512_loadu_ps(high), _mm512_loadu_ps(high_dist));
  const __mmask16 less = _mm512_cmp_ps_mask(b, a, _CMP_LT_OQ);
  _mm512_storeu_ps(next, _mm512_mask_blend_ps(less, a, b));
  return static_cast<uint16_t>(less);
}
#endif

// Cells, trellis bits and the two sums of the factor, along the cheapest path.
ATTAR_INLINE void trace(const Search& s, const Scratch& scratch, const float* cost, int64_t first,
                        int rows) {
  int32_t now[ROWS];
  double along[ROWS] = {}, power[ROWS] = {};
  for (int r = 0; r < ROWS; ++r) {
    now[r] = 0;
    for (int state = 1; state < s.states; ++state) {
      if (cost[state * ROWS + r] < cost[now[r] * ROWS + r]) now[r] = state;
    }
  }
  for (int64_t j = 0; j < s.dim; ++j) {
    const uint16_t* came = scratch.came.data() + j * s.states;
    const int64_t table = static_cast<int64_t>(s.width[j] - 1) * 4 * s.bins;
    const float weight = s.weight[j];
    for (int r = 0; r < rows; ++r) {
      const int32_t window = now[r] | (came[now[r]] >> r & 1) * s.states;
      const int64_t at = (first + r) * s.dim + j;
      const int64_t place = table + s.subset[window] * s.bins + scratch.bin[j * ROWS + r];
      const float y = s.level[place];
      s.trellis[at] = static_cast<uint8_t>(now[r] & 1);
      s.cells[at] = static_cast<uint8_t>(s.index[place] >> 2);
      along[r] += static_cast<double>(scratch.x[j * ROWS + r] * y * weight);
      power[r] += static_cast<double>(y * y * weight);
      now[r] = window >> 1;
    }
  }
  for (int r = 0; r < rows; ++r) s.along[first + r] = along[r], s.power[first + r] = power[r];
}

// One dimension of all states; STATES is known to the compiler where it is not 0.
template <int STATES, class Lesser>
ATTAR_INLINE void step(const Search& s, const uint8_t* subset, const float* dist,
                       const float* cost, float* __restrict next, uint16_t* __restrict came,
                       Lesser lesser) {
  const int states = STATES ? STATES : s.states;
  for (int state = 0; state < states; ++state) {
    const int other = state | states;
    came[state] = lesser(cost + (state >> 1) * ROWS, dist + subset[state] * ROWS,
                         cost + (other >> 1) * ROWS, dist + subset[other] * ROWS,
                         next + state * ROWS);
  }
}

template <class Lesser>
ATTAR_INLINE void search(const Search& s, int64_t first, int64_t last, Lesser lesser) {
  Scratch scratch(s);
  uint8_t subset[2 * MOST_STATES];
  std::copy(s.subset, s.subset + 2 * s.states, subset);
  alignas(64) float cost[2][MOST_STATES * ROWS], dist[4 * ROWS];
  for (int64_t row = first; row < last; row += ROWS) {
    const int rows = static_cast<int>(std::min<int64_t>(ROWS, last - row));
    float* x = scratch.x.data();
    int32_t chosen[ROWS] = {};
    gather_rows(s, row, rows, x);
    choose_gains(s, x, chosen);
    for (int r = 0; r < rows; ++r) s.chosen[row + r] = static_cast<uint8_t>(chosen[r]);
    std::fill(cost[0], cost[0] + s.states * ROWS, std::numeric_limits<float>::infinity());
    std::fill(cost[0], cost[0] + ROWS, 0.0f);
    int turn = 0;
    for (int64_t j = s.dim; j-- > 0; turn ^= 1) {
      distances(s, j, x + j * ROWS, scratch.bin.data() + j * ROWS, dist);
      uint16_t* came = scratch.came.data() + j * s.states;
      if (s.states == 8) step<8>(s, subset, dist, cost[turn], cost[turn ^ 1], came, lesser);
      else step<0>(s, subset, dist, cost[turn], cost[turn ^ 1], came, lesser);
    }
    trace(s, scratch, cost[turn], row, rows);
  }
}

void portable(const Search& s, int64_t first, int64_t last) {
  search(s, first, last, [](auto... at) { return lesser(at...); });
}

#ifdef ATTAR_X86
struct LesserAvx2 {
  ATTAR_AVX2 uint16_t operator()(const float* a, const float* b, const float* c, const float* d,
                                 float* next) const {
    return lesser_avx2(a, b, c, d, next);
  }
};

struct LesserAvx512 {
  ATTAR_AVX512 uint16_t operator()(const float* a, const float* b, const float* c, const float* d,
                                   float* next) const {
    return lesser_avx512(a, b, c, d, next);
  }
};

ATTAR_AVX2 void avx2(const Search& s, int64_t first, int64_t last) {
  search(s, first, last, LesserAvx2());
}

ATTAR_AVX512 void avx512(const Search& s, int64_t first, int64_t last) {
  search(s, first, last, LesserAvx512());
}
#endif

}  // namespace

}  // namespace attar

// For u float32 [n dim], finite: the best gain, cells and trellis bits of the path, and what the
// factor is made of; states at most 64.
ATTAR_API void attar_trellis_quantise(
    int32_t level, int32_t threads, int64_t n, int64_t dim, int32_t states, int32_t bins,
    int32_t gains, const uint8_t* subset, const int32_t* width, const float* weight,
    const uint16_t* index, const float* levels, const float* reach, const float* per_unit,
    const float* cost, const float* outermost, const float* gain, const float* inverse,
    const float* u, uint8_t* cells, uint8_t* trellis, uint8_t* chosen, double* along,
    double* power) {
  const attar::Search s{dim,   states,   bins,    gains,  subset, width,     weight,
                        index, levels,   reach,   per_unit, cost, outermost, gain,
                        inverse, u,    cells,   trellis, chosen, along,  power};
  attar::parallel((n + attar::ROWS - 1) / attar::ROWS, threads,
                  [&](int64_t, int64_t first, int64_t last) {
                    const int64_t from = first * attar::ROWS;
                    const int64_t to = std::min<int64_t>(n, last * attar::ROWS);
#ifdef ATTAR_X86
                    if (level >= attar::AVX512) return attar::avx512(s, from, to);
                    if (level >= attar::AVX2) return attar::avx2(s, from, to);
#endif
                    attar::portable(s, from, to);
                  });
}
