// The three integer kernels on every level; integers, so all levels agree exactly.
#include "blocks.h"

namespace attar {

namespace {

void portable_block(const Blocks& b, int64_t index, const int8_t* q, int32_t* out) {
  std::fill(out, out + ROWS16, 0);
  const uint8_t* at = b.block(index);
  for (int64_t g = 0; g < b.groups; ++g, at += 64, q += 8) {
    for (int v = 0; v < ROWS16; ++v) {
      for (int i = 0; i < 4; ++i) {
        const uint8_t code = at[4 * v + i];
        out[v] += b.lut[code & 15] * q[i] + b.lut[code >> 4] * q[4 + i];
      }
    }
  }
}

void portable_wide(const Blocks& b, int64_t first, int64_t last, const int8_t* high,
                   const int8_t* low, int32_t* out) {
  for (int64_t index = first; index < last; ++index, out += ROWS16) {
    int32_t lows[ROWS16];
    portable_block(b, index, high, out);
    portable_block(b, index, low, lows);
    for (int v = 0; v < ROWS16; ++v) out[v] = 128 * out[v] + lows[v];
  }
}

void portable_coarse(const Blocks& b, int64_t first, int64_t last, const int8_t* high,
                     int32_t* out) {
  for (int64_t index = first; index < last; ++index, out += ROWS16) {
    portable_block(b, index, high, out);
    for (int v = 0; v < ROWS16; ++v) out[v] *= 128;
  }
}

void portable_filter(const int32_t* scores, int64_t blocks, int32_t floor, uint16_t* masks) {
  for (int64_t b = 0; b < blocks; ++b, scores += ROWS16) {
    int32_t any = 0;
    for (int v = 0; v < ROWS16; ++v) any |= scores[v] >= floor;
    uint32_t bits = 0;
    for (int v = 0; any && v < ROWS16; ++v) bits |= uint32_t{scores[v] >= floor} << v;
    masks[b] = static_cast<uint16_t>(bits);
  }
}

void portable_bound(const int32_t* scores, const uint8_t* errors, const uint8_t* rests,
                    int64_t blocks, const Reach& reach, uint16_t* masks) {
  for (int64_t b = 0; b < blocks; ++b) {
    uint32_t bits = 0;
    for (int v = 0; v < ROWS16; ++v) {
      const int64_t at = b * ROWS16 + v;
      const float unknown = reach.head_error * static_cast<float>(errors[at]) +
                            reach.head_rest * static_cast<float>(rests[at]);
      const float known = reach.head_scale * static_cast<float>(scores[at]);
      bits |= uint32_t{known + unknown >= reach.head_floor} << v;
    }
    masks[b] = static_cast<uint16_t>(bits);
  }
}

void portable_narrow(const Blocks& b, int64_t first, int64_t last, const int8_t* queries,
                     const Slot* slots, int count) {
  std::vector<int8_t> plain(TOGETHER * 8 * static_cast<size_t>(b.groups));
  for (int64_t part = 0; part < 2 * b.groups; ++part) {
    for (int q = 0; q < TOGETHER; ++q) {
      std::memcpy(&plain[(q * 2 * b.groups + part) * 4], queries + (part * TOGETHER + q) * 4, 4);
    }
  }
  for (int64_t index = first; index < last; ++index) {
    const uint32_t perhaps = b.perhaps(index);
    if (perhaps == 0) continue;
    for (int q = 0; q < count; ++q) {
      int32_t out[ROWS16];
      portable_block(b, index, plain.data() + q * 8 * b.groups, out);
      const int32_t floor = slots[q].floor();
      uint32_t bits = 0;
      for (int v = 0; v < ROWS16; ++v) bits |= uint32_t{out[v] >= floor} << v;
      if (bits & perhaps) slots[q].push(index, b.valid(index, bits), out);
    }
  }
}

int32_t portable_body(const uint8_t* row, int64_t bytes, const uint8_t* lut, const int8_t* high,
                      const int8_t* low) {
  int32_t h = 0, l = 0;
  for (int64_t i = 0; i < bytes; ++i) {
    const int a = lut[row[i] & 15], b = lut[row[i] >> 4];
    h += a * high[i] + b * high[bytes + i];
    l += a * low[i] + b * low[bytes + i];
  }
  return 128 * h + l;
}

#ifdef ATTAR_X86

constexpr int64_t FAR = 16384, NEAR = 3072;  // bytes

// A scan reads faster than the first-level cache may ask for: lines that are far ahead are brought
// to the second level, which waits for more of them at once, and from there to the first.
ATTAR_INLINE void stream(const uint8_t* at) {
  __builtin_prefetch(at + FAR, 0, SECOND_LEVEL);
  __builtin_prefetch(at + NEAR, 0, FIRST_LEVEL);
}

inline int32_t four(const int8_t* q) {
  int32_t value;
  std::memcpy(&value, q, 4);
  return value;
}

ATTAR_AVX2 inline __m256i table32(const uint8_t* lut) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(lut)));
}

// Values of the low and high nibbles of 32 bytes.
ATTAR_AVX2 inline void values32(const uint8_t* at, __m256i lut, __m256i* low, __m256i* high) {
  const __m256i nibble = _mm256_set1_epi8(15);
  const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
  *low = _mm256_shuffle_epi8(lut, _mm256_and_si256(x, nibble));
  *high = _mm256_shuffle_epi8(lut, _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble));
}

// Sums of four products for both nibbles: 4 * 63 * 127 = 32,004 fits 16 bits.
ATTAR_AVX2 inline __m256i products32(__m256i low, __m256i high, __m256i q_low, __m256i q_high) {
  const __m256i sums =
      _mm256_add_epi16(_mm256_maddubs_epi16(low, q_low), _mm256_maddubs_epi16(high, q_high));
  return _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
}

ATTAR_AVX2 void avx2_wide(const Blocks& b, int64_t first, int64_t last, const int8_t* high,
                          const int8_t* low, int32_t* out) {
  const __m256i lut = table32(b.lut);
  for (int64_t index = first; index < last; ++index, out += ROWS16) {
    const uint8_t* at = b.block(index);
    __m256i h0 = _mm256_setzero_si256(), h1 = h0, l0 = h0, l1 = h0;
    for (int64_t g = 0; g < b.groups; ++g, at += 64) {
      __m256i x0, y0, x1, y1;
      values32(at, lut, &x0, &y0);
      values32(at + 32, lut, &x1, &y1);
      const __m256i hx = _mm256_set1_epi32(four(high + 8 * g));
      const __m256i hy = _mm256_set1_epi32(four(high + 8 * g + 4));
      const __m256i lx = _mm256_set1_epi32(four(low + 8 * g));
      const __m256i ly = _mm256_set1_epi32(four(low + 8 * g + 4));
      h0 = _mm256_add_epi32(h0, products32(x0, y0, hx, hy));
      h1 = _mm256_add_epi32(h1, products32(x1, y1, hx, hy));
      l0 = _mm256_add_epi32(l0, products32(x0, y0, lx, ly));
      l1 = _mm256_add_epi32(l1, products32(x1, y1, lx, ly));
    }
    h0 = _mm256_add_epi32(_mm256_slli_epi32(h0, 7), l0);
    h1 = _mm256_add_epi32(_mm256_slli_epi32(h1, 7), l1);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), h0);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 8), h1);
  }
}

// Two blocks at a time: what is ready of a query serves twice.
template <int COUNT>
ATTAR_AVX2 inline void avx2_coarse_blocks(const uint8_t* at, int64_t groups, __m256i lut,
                                          const int8_t* high, int32_t* out) {
  const int64_t bytes = 64 * groups;
  __m256i h[COUNT][2] = {};
  for (int64_t g = 0; g < groups; ++g, at += 64) {
    const __m256i hx = _mm256_set1_epi32(four(high + 8 * g));
    const __m256i hy = _mm256_set1_epi32(four(high + 8 * g + 4));
    for (int k = 0; k < COUNT; ++k) {
      stream(at + k * bytes);
      __m256i x0, y0, x1, y1;
      values32(at + k * bytes, lut, &x0, &y0);
      values32(at + k * bytes + 32, lut, &x1, &y1);
      h[k][0] = _mm256_add_epi32(h[k][0], products32(x0, y0, hx, hy));
      h[k][1] = _mm256_add_epi32(h[k][1], products32(x1, y1, hx, hy));
    }
  }
  for (int k = 0; k < COUNT; ++k) {
    auto* to = reinterpret_cast<__m256i*>(out + k * ROWS16);
    _mm256_storeu_si256(to, _mm256_slli_epi32(h[k][0], 7));
    _mm256_storeu_si256(to + 1, _mm256_slli_epi32(h[k][1], 7));
  }
}

ATTAR_AVX2 void avx2_coarse(const Blocks& b, int64_t first, int64_t last, const int8_t* high,
                            int32_t* out) {
  const __m256i lut = table32(b.lut);
  int64_t index = first;
  for (; index + 2 <= last; index += 2, out += 2 * ROWS16) {
    avx2_coarse_blocks<2>(b.block(index), b.groups, lut, high, out);
  }
  if (index < last) avx2_coarse_blocks<1>(b.block(index), b.groups, lut, high, out);
}

ATTAR_AVX2 inline uint32_t reaching(__m256i scores, int32_t floor) {
  const __m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32(floor), scores);
  return ~static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(below))) & 0xff;
}

ATTAR_AVX2 void avx2_filter(const int32_t* scores, int64_t blocks, int32_t floor,
                            uint16_t* masks) {
  for (int64_t b = 0; b < blocks; ++b, scores += ROWS16) {
    const auto* at = reinterpret_cast<const __m256i*>(scores);
    const uint32_t low = reaching(_mm256_loadu_si256(at), floor);
    masks[b] = static_cast<uint16_t>(low | reaching(_mm256_loadu_si256(at + 1), floor) << 8);
  }
}

ATTAR_AVX2 inline __m256 bytes8(const uint8_t* at) {
  const __m128i x = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at));
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(x));
}

ATTAR_AVX2 void avx2_bound(const int32_t* scores, const uint8_t* errors, const uint8_t* rests,
                           int64_t blocks, const Reach& reach, uint16_t* masks) {
  const __m256 scale = _mm256_set1_ps(reach.head_scale), floor = _mm256_set1_ps(reach.head_floor);
  const __m256 error = _mm256_set1_ps(reach.head_error), rest = _mm256_set1_ps(reach.head_rest);
  for (int64_t b = 0; b < 2 * blocks; ++b) {
    const __m256 unknown = _mm256_add_ps(_mm256_mul_ps(error, bytes8(errors + 8 * b)),
                                         _mm256_mul_ps(rest, bytes8(rests + 8 * b)));
    const auto* at = reinterpret_cast<const __m256i*>(scores) + b;
    const __m256 known = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(_mm256_loadu_si256(at)));
    const __m256 reached = _mm256_cmp_ps(_mm256_add_ps(known, unknown), floor, _CMP_GE_OQ);
    const int bits = _mm256_movemask_ps(reached);
    masks[b / 2] = static_cast<uint16_t>(b % 2 ? masks[b / 2] | bits << 8 : bits);
  }
}

// Four queries at a time: eight accumulators, four code registers, four of queries.
ATTAR_AVX2 inline void avx2_four(const Blocks& b, int64_t index, uint32_t perhaps,
                                 const int8_t* queries, const Slot* slots, int base) {
  const __m256i lut = table32(b.lut);
  const uint8_t* at = b.block(index);
  __m256i sum[4][2] = {};
  for (int64_t g = 0; g < b.groups; ++g, at += 64) {
    __m256i x0, y0, x1, y1;
    values32(at, lut, &x0, &y0);
    values32(at + 32, lut, &x1, &y1);
    const int8_t* q = queries + (2 * g * TOGETHER + base) * 4;
    for (int k = 0; k < 4; ++k) {
      const __m256i qx = _mm256_set1_epi32(four(q + 4 * k));
      const __m256i qy = _mm256_set1_epi32(four(q + 4 * (TOGETHER + k)));
      sum[k][0] = _mm256_add_epi32(sum[k][0], products32(x0, y0, qx, qy));
      sum[k][1] = _mm256_add_epi32(sum[k][1], products32(x1, y1, qx, qy));
    }
  }
  for (int k = 0; k < 4; ++k) {
    const int32_t floor = slots[base + k].floor();
    const uint32_t bits = (reaching(sum[k][0], floor) | reaching(sum[k][1], floor) << 8) & perhaps;
    if (bits == 0) continue;
    int32_t out[ROWS16];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), sum[k][0]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 8), sum[k][1]);
    slots[base + k].push(index, b.valid(index, bits), out);
  }
}

ATTAR_AVX2 void avx2_narrow(const Blocks& b, int64_t first, int64_t last, const int8_t* queries,
                            const Slot* slots, int count) {
  for (int64_t index = first; index < last; ++index) {
    const uint32_t perhaps = b.perhaps(index);
    if (perhaps == 0) continue;
    avx2_four(b, index, perhaps, queries, slots, 0);
    if (count > 4) avx2_four(b, index, perhaps, queries, slots, 4);
  }
}

ATTAR_AVX2 inline int32_t sum8(__m256i v) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

ATTAR_AVX2 inline __m256i load32(const int8_t* at) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}

ATTAR_AVX2 int32_t avx2_body(const uint8_t* row, int64_t bytes, const uint8_t* lut,
                             const int8_t* high, const int8_t* low) {
  const __m256i table = table32(lut);
  __m256i h = _mm256_setzero_si256(), l = h;
  int64_t i = 0;
  for (; i + 32 <= bytes; i += 32) {
    __m256i x, y;
    values32(row + i, table, &x, &y);
    h = _mm256_add_epi32(h, products32(x, y, load32(high + i), load32(high + bytes + i)));
    l = _mm256_add_epi32(l, products32(x, y, load32(low + i), load32(low + bytes + i)));
  }
  int32_t sum = sum8(_mm256_add_epi32(_mm256_slli_epi32(h, 7), l));
  for (; i < bytes; ++i) {
    const int a = lut[row[i] & 15], b = lut[row[i] >> 4];
    sum += 128 * (a * high[i] + b * high[bytes + i]) + a * low[i] + b * low[bytes + i];
  }
  return sum;
}

ATTAR_AVX512 inline __m512i table64(const uint8_t* lut) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(lut)));
}

ATTAR_AVX512 inline void values64(const uint8_t* at, __m512i lut, __m512i* low, __m512i* high) {
  const __m512i nibble = _mm512_set1_epi8(15);
  const __m512i x = _mm512_loadu_si512(at);
  *low = _mm512_shuffle_epi8(lut, _mm512_and_si512(x, nibble));
  *high = _mm512_shuffle_epi8(lut, _mm512_and_si512(_mm512_srli_epi16(x, 4), nibble));
}

// Four blocks at a time: four or eight accumulators hide the latency of vpdpbusd.
template <int COUNT, bool FINE>
ATTAR_AVX512 inline void avx512_wide_blocks(const Blocks& b, int64_t index, const int8_t* high,
                                            const int8_t* low, int32_t* out) {
  const __m512i lut = table64(b.lut);
  const uint8_t* at = b.block(index);
  __m512i h[COUNT], l[COUNT];
  for (int k = 0; k < COUNT; ++k) h[k] = l[k] = _mm512_setzero_si512();
  for (int64_t g = 0; g < b.groups; ++g) {
    const __m512i hx = _mm512_set1_epi32(four(high + 8 * g));
    const __m512i hy = _mm512_set1_epi32(four(high + 8 * g + 4));
    const __m512i lx = FINE ? _mm512_set1_epi32(four(low + 8 * g)) : hx;
    const __m512i ly = FINE ? _mm512_set1_epi32(four(low + 8 * g + 4)) : hy;
    for (int k = 0; k < COUNT; ++k) {
      __m512i x, y;
      // Four blocks are four short streams, which hardware prefetchers do not follow.
      stream(at + 64 * (COUNT * g + k));
      values64(at + k * b.bytes() + 64 * g, lut, &x, &y);
      h[k] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(h[k], x, hx), y, hy);
      if (FINE) l[k] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(l[k], x, lx), y, ly);
    }
  }
  for (int k = 0; k < COUNT; ++k) {
    _mm512_storeu_si512(out + k * ROWS16, _mm512_add_epi32(_mm512_slli_epi32(h[k], 7), l[k]));
  }
}

template <bool FINE>
ATTAR_AVX512 inline void avx512_wide_range(const Blocks& b, int64_t first, int64_t last,
                                           const int8_t* high, const int8_t* low, int32_t* out) {
  int64_t index = first;
  for (; index + 4 <= last; index += 4) {
    avx512_wide_blocks<4, FINE>(b, index, high, low, out + (index - first) * ROWS16);
  }
  for (; index < last; ++index) {
    avx512_wide_blocks<1, FINE>(b, index, high, low, out + (index - first) * ROWS16);
  }
}

ATTAR_AVX512 void avx512_wide(const Blocks& b, int64_t first, int64_t last, const int8_t* high,
                              const int8_t* low, int32_t* out) {
  avx512_wide_range<true>(b, first, last, high, low, out);
}

ATTAR_AVX512 void avx512_coarse(const Blocks& b, int64_t first, int64_t last, const int8_t* high,
                                int32_t* out) {
  avx512_wide_range<false>(b, first, last, high, high, out);
}

ATTAR_AVX512 void avx512_filter(const int32_t* scores, int64_t blocks, int32_t floor,
                                uint16_t* masks) {
  const __m512i least = _mm512_set1_epi32(floor);
  for (int64_t b = 0; b < blocks; ++b) {
    masks[b] = _mm512_cmpge_epi32_mask(_mm512_loadu_si512(scores + b * ROWS16), least);
  }
}

ATTAR_AVX512 inline __m512 bytes16(const uint8_t* at) {
  const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(x));
}

ATTAR_AVX512 void avx512_bound(const int32_t* scores, const uint8_t* errors, const uint8_t* rests,
                               int64_t blocks, const Reach& reach, uint16_t* masks) {
  const __m512 scale = _mm512_set1_ps(reach.head_scale), floor = _mm512_set1_ps(reach.head_floor);
  const __m512 error = _mm512_set1_ps(reach.head_error), rest = _mm512_set1_ps(reach.head_rest);
  for (int64_t b = 0; b < blocks; ++b) {
    const __m512 unknown = _mm512_add_ps(_mm512_mul_ps(error, bytes16(errors + ROWS16 * b)),
                                         _mm512_mul_ps(rest, bytes16(rests + ROWS16 * b)));
    const __m512i score = _mm512_loadu_si512(scores + ROWS16 * b);
    const __m512 known = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(score));
    masks[b] = _mm512_cmp_ps_mask(_mm512_add_ps(known, unknown), floor, _CMP_GE_OQ);
  }
}

// COUNT blocks times QUERIES queries: as many accumulators.
template <int COUNT, int QUERIES>
ATTAR_AVX512 inline void avx512_narrow_blocks(const Blocks& b, int64_t index,
                                              const uint32_t* perhaps, const int8_t* queries,
                                              const Slot* slots) {
  const __m512i lut = table64(b.lut);
  const uint8_t* at = b.block(index);
  __m512i sum[COUNT][QUERIES];
  for (int k = 0; k < COUNT; ++k) {
    for (int q = 0; q < QUERIES; ++q) sum[k][q] = _mm512_setzero_si512();
  }
  for (int64_t g = 0; g < b.groups; ++g) {
    __m512i x[COUNT], y[COUNT];
    for (int k = 0; k < COUNT; ++k) {
      stream(at + 64 * (COUNT * g + k));
      values64(at + k * b.bytes() + 64 * g, lut, &x[k], &y[k]);
    }
    const int8_t* at_q = queries + g * 2 * TOGETHER * 4;
    for (int q = 0; q < QUERIES; ++q) {
      const __m512i qx = _mm512_set1_epi32(four(at_q + 4 * q));
      const __m512i qy = _mm512_set1_epi32(four(at_q + 4 * (TOGETHER + q)));
      for (int k = 0; k < COUNT; ++k) {
        sum[k][q] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sum[k][q], x[k], qx), y[k], qy);
      }
    }
  }
  for (int q = 0; q < QUERIES; ++q) {
    for (int k = 0; k < COUNT; ++k) {
      const __m512i floor = _mm512_set1_epi32(slots[q].floor());
      const uint32_t bits = _mm512_cmpge_epi32_mask(sum[k][q], floor) & perhaps[k];
      if (bits == 0) continue;
      int32_t out[ROWS16];
      _mm512_storeu_si512(out, sum[k][q]);
      slots[q].push(index + k, b.valid(index + k, bits), out);
    }
  }
}

template <int QUERIES>
ATTAR_AVX512 inline void avx512_narrow_range(const Blocks& b, int64_t first, int64_t last,
                                             const int8_t* queries, const Slot* slots) {
  constexpr int COUNT = QUERIES > 4 ? 2 : 4;
  int64_t index = first;
  for (; index + COUNT <= last; index += COUNT) {
    uint32_t perhaps[COUNT], any = 0;
    for (int k = 0; k < COUNT; ++k) any |= perhaps[k] = b.perhaps(index + k);
    if (any) avx512_narrow_blocks<COUNT, QUERIES>(b, index, perhaps, queries, slots);
  }
  for (; index < last; ++index) {
    const uint32_t perhaps = b.perhaps(index);
    if (perhaps) avx512_narrow_blocks<1, QUERIES>(b, index, &perhaps, queries, slots);
  }
}

ATTAR_AVX512 void avx512_narrow(const Blocks& b, int64_t first, int64_t last,
                                const int8_t* queries, const Slot* slots, int count) {
  if (count > 4) return avx512_narrow_range<8>(b, first, last, queries, slots);
  if (count > 2) return avx512_narrow_range<4>(b, first, last, queries, slots);
  if (count > 1) return avx512_narrow_range<2>(b, first, last, queries, slots);
  avx512_narrow_range<1>(b, first, last, queries, slots);
}

ATTAR_AVX512 int32_t avx512_body(const uint8_t* row, int64_t bytes, const uint8_t* lut,
                                 const int8_t* high, const int8_t* low) {
  const __m512i table = table64(lut), nibble = _mm512_set1_epi8(15);
  __m512i h = _mm512_setzero_si512(), l = h;
  for (int64_t i = 0; i < bytes; i += 64) {
    const __mmask64 some = bytes - i >= 64 ? ~uint64_t{0} : (uint64_t{1} << (bytes - i)) - 1;
    const __m512i c = _mm512_maskz_loadu_epi8(some, row + i);
    const __m512i x = _mm512_shuffle_epi8(table, _mm512_and_si512(c, nibble));
    const __m512i y =
        _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(c, 4), nibble));
    h = _mm512_dpbusd_epi32(h, x, _mm512_maskz_loadu_epi8(some, high + i));
    h = _mm512_dpbusd_epi32(h, y, _mm512_maskz_loadu_epi8(some, high + bytes + i));
    l = _mm512_dpbusd_epi32(l, x, _mm512_maskz_loadu_epi8(some, low + i));
    l = _mm512_dpbusd_epi32(l, y, _mm512_maskz_loadu_epi8(some, low + bytes + i));
  }
  return _mm512_reduce_add_epi32(_mm512_add_epi32(_mm512_slli_epi32(h, 7), l));
}

#endif  // ATTAR_X86

}  // namespace

const SketchKernels& sketch_kernels(int32_t level) {
  static const SketchKernels portable = {portable_wide,  portable_coarse, portable_filter,
                                         portable_bound, portable_narrow, portable_body,
                                         nullptr};
#ifdef ATTAR_X86
  static const SketchKernels avx2 = {avx2_wide,   avx2_coarse, avx2_filter, avx2_bound,
                                     avx2_narrow, avx2_body,   nullptr};
  static const SketchKernels avx512 = {avx512_wide,   avx512_coarse, avx512_filter, avx512_bound,
                                       avx512_narrow, avx512_body,   nullptr};
#ifdef ATTAR_TILES
  static const SketchKernels amx = {avx512_wide,   avx512_coarse, avx512_filter, avx512_bound,
                                    avx512_narrow, avx512_body,   amx_tiled};
  if (level == AMX) return amx;
#endif
  if (level == AVX512) return avx512;
  if (level == AVX2) return avx2;
#elif defined(ATTAR_ARM)
  if (level == NEON) return neon_sketch_kernels();
#else
  (void)level;
#endif
  return portable;
}

}  // namespace attar
