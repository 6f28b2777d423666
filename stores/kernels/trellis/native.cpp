// The trellis search of reference.py, sixteen rows at a time; the same operations in the same
// order for each row, so that the bits agree.
#include "portable.h"
#ifdef ATTAR_X86
#include "avx512.h"
#endif
#ifdef ATTAR_ARM
#include "../neon.h"
#endif

namespace attar {

namespace {

// Rows first … first + rows - 1 side by side; the last one fills the block.
ATTAR_INLINE void gather_rows(const Search& s, int64_t first, int rows, float* __restrict x) {
  for (int r = 0; r < ROWS; ++r) {
    const float* row = s.u + (first + std::min(r, rows - 1)) * s.dim;
    for (int64_t j = 0; j < s.dim; ++j) x[j * ROWS + r] = row[j];
  }
}

// One dimension of all states; STATES is known to the compiler where it is not 0.
template <class Parts, int STATES>
ATTAR_INLINE void step(const Search& s, const uint8_t* subset, const float* dist,
                       const float* cost, float* __restrict next, uint16_t* __restrict came) {
  const int states = STATES ? STATES : s.states;
  for (int state = 0; state < states; ++state) {
    const int other = state | states;
    came[state] = Parts::lesser(cost + (state >> 1) * ROWS, dist + subset[state] * ROWS,
                                cost + (other >> 1) * ROWS, dist + subset[other] * ROWS,
                                next + state * ROWS);
  }
}

template <class Parts>
ATTAR_INLINE void search(const Search& s, int64_t first, int64_t last) {
  Scratch scratch(s);
  uint8_t subset[2 * MOST_STATES];
  std::copy(s.subset, s.subset + 2 * s.states, subset);
  alignas(64) float cost[2][MOST_STATES * ROWS], dist[4 * ROWS];
  for (int64_t row = first; row < last; row += ROWS) {
    const int rows = static_cast<int>(std::min<int64_t>(ROWS, last - row));
    float* x = scratch.x.data();
    int32_t chosen[ROWS] = {};
    gather_rows(s, row, rows, x);
    Parts::choose_gains(s, x, chosen);
    for (int r = 0; r < rows; ++r) s.chosen[row + r] = static_cast<uint8_t>(chosen[r]);
    std::fill(cost[0], cost[0] + s.states * ROWS, std::numeric_limits<float>::infinity());
    std::fill(cost[0], cost[0] + ROWS, 0.0f);
    int turn = 0;
    for (int64_t j = s.dim; j-- > 0; turn ^= 1) {
      Parts::distances(s, j, x + j * ROWS, scratch.bin.data() + j * ROWS, dist);
      uint16_t* came = scratch.came.data() + j * s.states;
      float *now = cost[turn], *next = cost[turn ^ 1];
      if (s.states == 64) step<Parts, 64>(s, subset, dist, now, next, came);
      else step<Parts, 0>(s, subset, dist, now, next, came);
    }
    Parts::trace(s, scratch, cost[turn], row, rows);
  }
}

void portable(const Search& s, int64_t first, int64_t last) { search<Portable>(s, first, last); }

#ifdef ATTAR_X86
struct Avx2 : Portable {
  ATTAR_AVX2 static inline uint16_t lesser(const float* low, const float* low_dist, const float* high,
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
};

ATTAR_AVX2 void avx2(const Search& s, int64_t first, int64_t last) {
  search<Avx2>(s, first, last);
}

ATTAR_AVX512 void avx512(const Search& s, int64_t first, int64_t last) {
  search<Avx512>(s, first, last);
}
#endif

#ifdef ATTAR_ARM
struct Neon : Portable {
  static inline uint16_t lesser(const float* low, const float* low_dist, const float* high,
                                const float* high_dist, float* next) {
    uint32x4_t less[4];
    for (int r = 0; r < ROWS; r += 4) {
      const float32x4_t a = vaddq_f32(vld1q_f32(low + r), vld1q_f32(low_dist + r));
      const float32x4_t b = vaddq_f32(vld1q_f32(high + r), vld1q_f32(high_dist + r));
      less[r / 4] = vcltq_f32(b, a);
      vst1q_f32(next + r, vbslq_f32(less[r / 4], b, a));
    }
    return bits16(less);
  }
};

void neon(const Search& s, int64_t first, int64_t last) { search<Neon>(s, first, last); }
#endif

}  // namespace

}  // namespace attar

// For u float32 [n dim], finite: the best gain, cells and trellis bits of the path, and what the
// factor is made of; states at most 128.
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
#ifdef ATTAR_ARM
                    if (level == attar::NEON) return attar::neon(s, from, to);
#endif
                    attar::portable(s, from, to);
                  });
}
