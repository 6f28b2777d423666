// The trellis search of reference.py, sixteen rows at a time; the same float32 operations in the
// same order, so that the bits agree.
#include "../native.h"

namespace attar {

namespace {

constexpr int ROWS = 16;
constexpr int MOST_STATES = 64;

// tables: of width w at (w - 1) * 4 * bins; width [dim]; u and the outputs are [n dim].
struct Search {
  int64_t dim;
  int32_t states, bins;
  const uint8_t* subset;  // [2 states]
  const int32_t* width;
  const float* weight;
  const uint16_t* index;
  const float* level;
  const float* reach;
  const float* per_unit;
  const float* u;
  uint8_t* cells;
  uint8_t* trellis;
};

struct Scratch {
  std::vector<uint8_t> came;   // [dim states ROWS]
  std::vector<uint16_t> bin;   // [dim ROWS]
  explicit Scratch(const Search& s) : came(s.dim * s.states * ROWS), bin(s.dim * ROWS) {}
};

#define ATTAR_INLINE inline __attribute__((always_inline))

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

ATTAR_INLINE void step(const Search& s, const float* __restrict dist, const float* __restrict cost,
                       float* __restrict next, uint8_t* __restrict came) {
  for (int state = 0; state < s.states; ++state) {
    const float* low = cost + (state >> 1) * ROWS;
    const float* high = cost + ((state | s.states) >> 1) * ROWS;
    const float* low_dist = dist + s.subset[state] * ROWS;
    const float* high_dist = dist + s.subset[state | s.states] * ROWS;
    int32_t took[ROWS];
    for (int r = 0; r < ROWS; ++r) {
      const float a = low[r] + low_dist[r], b = high[r] + high_dist[r];
      took[r] = b < a ? 1 : 0;
      next[state * ROWS + r] = b < a ? b : a;
    }
    for (int r = 0; r < ROWS; ++r) came[state * ROWS + r] = static_cast<uint8_t>(took[r]);
  }
}

ATTAR_INLINE void trace(const Search& s, const Scratch& scratch, const float* cost, int64_t first,
                        int rows) {
  int32_t now[ROWS];
  for (int r = 0; r < ROWS; ++r) {
    now[r] = 0;
    for (int state = 1; state < s.states; ++state) {
      if (cost[state * ROWS + r] < cost[now[r] * ROWS + r]) now[r] = state;
    }
  }
  for (int64_t j = 0; j < s.dim; ++j) {
    const uint8_t* came = scratch.came.data() + j * s.states * ROWS;
    const uint16_t* index = s.index + static_cast<int64_t>(s.width[j] - 1) * 4 * s.bins;
    for (int r = 0; r < rows; ++r) {
      const int32_t window = now[r] + s.states * came[now[r] * ROWS + r];
      const int64_t at = (first + r) * s.dim + j;
      s.trellis[at] = static_cast<uint8_t>(now[r] & 1);
      const int32_t place = s.subset[window] * s.bins + scratch.bin[j * ROWS + r];
      s.cells[at] = static_cast<uint8_t>(index[place] >> 2);
      now[r] = window >> 1;
    }
  }
}

ATTAR_INLINE void search(const Search& s, int64_t first, int64_t last) {
  Scratch scratch(s);
  float cost[2][MOST_STATES * ROWS], x[ROWS], dist[4 * ROWS];
  for (int64_t row = first; row < last; row += ROWS) {
    const int rows = static_cast<int>(std::min<int64_t>(ROWS, last - row));
    std::fill(cost[0], cost[0] + s.states * ROWS, std::numeric_limits<float>::infinity());
    std::fill(cost[0], cost[0] + ROWS, 0.0f);
    int turn = 0;
    for (int64_t j = s.dim; j-- > 0; turn ^= 1) {
      for (int r = 0; r < ROWS; ++r) x[r] = s.u[(row + std::min(r, rows - 1)) * s.dim + j];
      distances(s, j, x, scratch.bin.data() + j * ROWS, dist);
      step(s, dist, cost[turn], cost[turn ^ 1], scratch.came.data() + j * s.states * ROWS);
    }
    trace(s, scratch, cost[turn], row, rows);
  }
}

void portable(const Search& s, int64_t first, int64_t last) { search(s, first, last); }

#ifdef ATTAR_X86
ATTAR_AVX2 void avx2(const Search& s, int64_t first, int64_t last) { search(s, first, last); }
ATTAR_AVX512 void avx512(const Search& s, int64_t first, int64_t last) { search(s, first, last); }
#endif

}  // namespace

}  // namespace attar

// cells and trellis uint8 [n dim] of u float32 [n dim], finite; states at most 64.
ATTAR_API void attar_trellis_quantise(
    int32_t level, int32_t threads, int64_t n, int64_t dim, int32_t states, int32_t bins,
    const uint8_t* subset, const int32_t* width, const float* weight, const uint16_t* index,
    const float* levels, const float* reach, const float* per_unit, const float* u, uint8_t* cells,
    uint8_t* trellis) {
  const attar::Search s{dim,    states, bins,  subset,   width, weight, index,
                        levels, reach,  per_unit, u, cells, trellis};
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
