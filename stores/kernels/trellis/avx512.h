// The parts of a trellis search in AVX-512, a lane a row; the bits are those of portable.h.
#pragma once

#include "search.h"

namespace attar {

namespace {

// Entry at[lane] of 16-bit numbers; the one beside it is read too, at ^ 1.
ATTAR_AVX512 inline __m512i look_up(const uint16_t* table, __m512i at) {
  const __m512i pairs = _mm512_i32gather_epi32(_mm512_srli_epi32(at, 1), table, 4);
  const __m512i shift = _mm512_slli_epi32(_mm512_and_si512(at, _mm512_set1_epi32(1)), 4);
  return _mm512_and_si512(_mm512_srlv_epi32(pairs, shift), _mm512_set1_epi32(0xffff));
}

// sum += the sixteen terms, the first eight in sum[0].
ATTAR_AVX512 inline void add(__m512 terms, __m512d sum[2]) {
  const __m256 high = _mm512_extractf32x8_ps(terms, 1);
  sum[0] = _mm512_add_pd(sum[0], _mm512_cvtps_pd(_mm512_castps512_ps256(terms)));
  sum[1] = _mm512_add_pd(sum[1], _mm512_cvtps_pd(high));
}

// bytes [dim ROWS] to `rows` rows of dim bytes, sixteen dimensions at a time: four rounds that
// interleave the first eight registers with the others.
ATTAR_AVX512 inline void turn_over(const uint8_t* bytes, int64_t dim, int rows, uint8_t* to) {
  for (int64_t j = 0; j < dim; j += ROWS) {
    __m128i at[ROWS], other[ROWS];
    for (int i = 0; i < ROWS; ++i) {
      at[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + (j + i) * ROWS));
    }
    for (int round = 0; round < 4; ++round) {
      for (int i = 0; i < ROWS / 2; ++i) {
        other[2 * i] = _mm_unpacklo_epi8(at[i], at[i + ROWS / 2]);
        other[2 * i + 1] = _mm_unpackhi_epi8(at[i], at[i + ROWS / 2]);
      }
      std::copy(other, other + ROWS, at);
    }
    const auto wanted = static_cast<__mmask16>((1u << std::min<int64_t>(ROWS, dim - j)) - 1);
    for (int r = 0; r < rows; ++r) _mm_mask_storeu_epi8(to + r * dim + j, wanted, at[r]);
  }
}

struct Avx512 {
  // The error that a row divided by gain k is expected to leave, times the squared gain.
  ATTAR_AVX512 static inline __m512 expected(const Search& s, const float* x, int k) {
    const __m512 inverse = _mm512_set1_ps(s.inverse[k]), reach = _mm512_set1_ps(COST_REACH);
    const __m512 per_unit = _mm512_set1_ps(COST_PER_UNIT);
    const __m512i last = _mm512_set1_epi32(COST_BINS - 1);
    __m512 sum = _mm512_setzero_ps();
    for (int64_t j = 0; j < s.dim; ++j) {
      const int w = s.width[j] - 1;
      const __m512 size = _mm512_mul_ps(_mm512_abs_ps(_mm512_loadu_ps(x + j * ROWS)), inverse);
      const __mmask16 inside = _mm512_cmp_ps_mask(size, reach, _CMP_LT_OQ);
      const __m512i at = _mm512_cvttps_epi32(_mm512_mul_ps(_mm512_min_ps(size, reach), per_unit));
      const __m512 over = _mm512_sub_ps(size, _mm512_set1_ps(s.outermost[w]));
      const __m512 error = _mm512_mask_i32gather_ps(
          _mm512_mul_ps(over, over), inside, _mm512_min_epi32(at, last), s.cost + w * COST_BINS, 4);
      sum = _mm512_add_ps(sum, _mm512_mul_ps(error, _mm512_set1_ps(s.weight[j])));
    }
    return _mm512_mul_ps(sum, _mm512_set1_ps(s.gain[k] * s.gain[k]));
  }

  ATTAR_AVX512 static inline void choose_gains(const Search& s, float* x, int32_t* best) {
    __m512 least = expected(s, x, 0), inverse = _mm512_set1_ps(s.inverse[0]);
    __m512i chosen = _mm512_setzero_si512();
    for (int k = 1; k < s.gains; ++k) {
      const __m512 error = expected(s, x, k);
      const __mmask16 less = _mm512_cmp_ps_mask(error, least, _CMP_LT_OQ);
      least = _mm512_mask_mov_ps(least, less, error);
      inverse = _mm512_mask_mov_ps(inverse, less, _mm512_set1_ps(s.inverse[k]));
      chosen = _mm512_mask_mov_epi32(chosen, less, _mm512_set1_epi32(k));
    }
    _mm512_storeu_si512(best, chosen);
    for (int64_t j = 0; j < s.dim; ++j) {
      _mm512_storeu_ps(x + j * ROWS, _mm512_mul_ps(_mm512_loadu_ps(x + j * ROWS), inverse));
    }
  }

  ATTAR_AVX512 static inline void distances(const Search& s, int64_t j, const float* x,
                                            uint16_t* bin, float* dist) {
    const int w = s.width[j] - 1;
    const __m512 reach = _mm512_set1_ps(s.reach[w]), weight = _mm512_set1_ps(s.weight[j]);
    const __m512 v = _mm512_loadu_ps(x), below = _mm512_sub_ps(_mm512_setzero_ps(), reach);
    const __m512 kept = _mm512_min_ps(_mm512_max_ps(v, below), reach);
    const __m512 at = _mm512_mul_ps(_mm512_add_ps(kept, reach), _mm512_set1_ps(s.per_unit[w]));
    const __m512i place = _mm512_min_epi32(_mm512_cvttps_epi32(at), _mm512_set1_epi32(s.bins - 1));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(bin), _mm512_cvtepi32_epi16(place));
    for (int c = 0; c < 4; ++c) {
      const float* level = s.level + (static_cast<int64_t>(w) * 4 + c) * s.bins;
      const __m512 error = _mm512_sub_ps(v, _mm512_i32gather_ps(place, level, 4));
      _mm512_storeu_ps(dist + c * ROWS, _mm512_mul_ps(_mm512_mul_ps(error, error), weight));
    }
  }

  ATTAR_AVX512 static inline uint16_t lesser(const float* low, const float* low_dist,
                                             const float* high, const float* high_dist,
                                             float* next) {
    const __m512 a = _mm512_add_ps(_mm512_loadu_ps(low), _mm512_loadu_ps(low_dist));
    const __m512 b = _mm512_add_ps(_mm512_loadu_ps(high), _mm512_loadu_ps(high_dist));
    const __mmask16 less = _mm512_cmp_ps_mask(b, a, _CMP_LT_OQ);
    _mm512_storeu_ps(next, _mm512_mask_blend_ps(less, a, b));
    return static_cast<uint16_t>(less);
  }

  ATTAR_AVX512 static inline __m512i cheapest(const Search& s, const float* cost) {
    __m512i state = _mm512_setzero_si512();
    __m512 least = _mm512_loadu_ps(cost);
    for (int other = 1; other < s.states; ++other) {
      const __m512 next = _mm512_loadu_ps(cost + other * ROWS);
      const __mmask16 less = _mm512_cmp_ps_mask(next, least, _CMP_LT_OQ);
      least = _mm512_mask_mov_ps(least, less, next);
      state = _mm512_mask_mov_epi32(state, less, _mm512_set1_epi32(other));
    }
    return state;
  }

  ATTAR_AVX512 static inline void trace(const Search& s, Scratch& scratch, const float* cost,
                                        int64_t first, int rows) {
    const __m512i one = _mm512_set1_epi32(1), states = _mm512_set1_epi32(s.states);
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    int32_t subset[2 * MOST_STATES];
    for (int w = 0; w < 2 * s.states; ++w) subset[w] = s.subset[w] * s.bins;
    __m512i now = cheapest(s, cost);
    __m512d along[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
    __m512d power[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
    for (int64_t j = 0; j < s.dim; ++j) {
      const int64_t table = static_cast<int64_t>(s.width[j] - 1) * 4 * s.bins;
      const __m512i came = look_up(scratch.came.data() + j * s.states, now);
      const __m512i high = _mm512_and_si512(_mm512_srlv_epi32(came, lane), one);
      const __m512i window = _mm512_or_si512(now, _mm512_mullo_epi32(high, states));
      const auto* bins = reinterpret_cast<const __m256i*>(scratch.bin.data() + j * ROWS);
      const __m512i bin = _mm512_cvtepu16_epi32(_mm256_loadu_si256(bins));
      const __m512i place = _mm512_add_epi32(_mm512_i32gather_epi32(window, subset, 4), bin);
      const __m512 y = _mm512_i32gather_ps(place, s.level + table, 4);
      const __m512i cell = _mm512_srli_epi32(look_up(s.index + table, place), 2);
      const __m512 x = _mm512_loadu_ps(scratch.x.data() + j * ROWS);
      const __m512 weight = _mm512_set1_ps(s.weight[j]);
      add(_mm512_mul_ps(_mm512_mul_ps(x, y), weight), along);
      add(_mm512_mul_ps(_mm512_mul_ps(y, y), weight), power);
      auto* cells = reinterpret_cast<__m128i*>(scratch.cells.data() + j * ROWS);
      auto* bits = reinterpret_cast<__m128i*>(scratch.trellis.data() + j * ROWS);
      _mm_storeu_si128(cells, _mm512_cvtepi32_epi8(cell));
      _mm_storeu_si128(bits, _mm512_cvtepi32_epi8(_mm512_and_si512(now, one)));
      now = _mm512_srli_epi32(window, 1);
    }
    turn_over(scratch.cells.data(), s.dim, rows, s.cells + first * s.dim);
    turn_over(scratch.trellis.data(), s.dim, rows, s.trellis + first * s.dim);
    for (int half = 0; half < 2; ++half) {
      const int left = std::clamp(rows - 8 * half, 0, 8);
      const auto wanted = static_cast<__mmask8>((1u << left) - 1);
      _mm512_mask_storeu_pd(s.along + first + 8 * half, wanted, along[half]);
      _mm512_mask_storeu_pd(s.power + first + 8 * half, wanted, power[half]);
    }
  }
};

}  // namespace

}  // namespace attar
