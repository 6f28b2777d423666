// The integer kernels of blocks.h in NEON with dot products. Values are at most 63, so that they are
// signed bytes; sixteen bytes of a block are four rows of four coordinates, one sum each.
#include "../neon.h"

#ifdef ATTAR_ARM

#include "blocks.h"

namespace attar {

namespace {

constexpr int QUADS = ROWS16 / 4;   // vectors of four rows in a block
constexpr int64_t AHEAD = 4096;     // bytes

inline int8x16_t table16(const uint8_t* lut) { return vreinterpretq_s8_u8(vld1q_u8(lut)); }

// Values of the low and high nibbles of 16 bytes.
inline int8x16x2_t values16(const uint8_t* at, int8x16_t lut) {
  const uint8x16_t x = vld1q_u8(at);
  return {vqtbl1q_s8(lut, vandq_u8(x, vdupq_n_u8(15))), vqtbl1q_s8(lut, vshrq_n_u8(x, 4))};
}

// sum + both nibbles' products with a query's eight coordinates of this group.
ATTAR_DOTPROD inline int32x4_t plus(int32x4_t sum, const int8x16x2_t& x, int8x8_t q) {
  return vdotq_lane_s32(vdotq_lane_s32(sum, x.val[0], q, 0), x.val[1], q, 1);
}

ATTAR_DOTPROD void neon_wide(const Blocks& b, int64_t first, int64_t last, const int8_t* high,
                             const int8_t* low, int32_t* out) {
  const int8x16_t lut = table16(b.lut);
  for (int64_t index = first; index < last; ++index, out += ROWS16) {
    const uint8_t* at = b.block(index);
    int32x4_t h[QUADS] = {}, l[QUADS] = {};
    for (int64_t g = 0; g < b.groups; ++g, at += 64) {
      const int8x8_t q_high = vld1_s8(high + 8 * g), q_low = vld1_s8(low + 8 * g);
      for (int v = 0; v < QUADS; ++v) {
        const int8x16x2_t x = values16(at + 16 * v, lut);
        h[v] = plus(h[v], x, q_high);
        l[v] = plus(l[v], x, q_low);
      }
    }
    for (int v = 0; v < QUADS; ++v) {
      vst1q_s32(out + 4 * v, vaddq_s32(vshlq_n_s32(h[v], 7), l[v]));
    }
  }
}

// Two blocks at a time hide the latency of the sums.
template <int COUNT>
ATTAR_DOTPROD inline void coarse_blocks(const Blocks& b, int64_t index, int8x16_t lut,
                                        const int8_t* high, int32_t* out) {
  const uint8_t* at = b.block(index);
  int32x4_t h[COUNT][QUADS] = {};
  for (int64_t g = 0; g < b.groups; ++g, at += 64) {
    const int8x8_t q = vld1_s8(high + 8 * g);
    for (int k = 0; k < COUNT; ++k) {
      const uint8_t* mine = at + k * b.bytes();
      __builtin_prefetch(mine + AHEAD);
      for (int v = 0; v < QUADS; ++v) h[k][v] = plus(h[k][v], values16(mine + 16 * v, lut), q);
    }
  }
  for (int k = 0; k < COUNT; ++k) {
    for (int v = 0; v < QUADS; ++v) {
      vst1q_s32(out + k * ROWS16 + 4 * v, vshlq_n_s32(h[k][v], 7));
    }
  }
}

ATTAR_DOTPROD void neon_coarse(const Blocks& b, int64_t first, int64_t last, const int8_t* high,
                               int32_t* out) {
  const int8x16_t lut = table16(b.lut);
  int64_t index = first;
  for (; index + 2 <= last; index += 2, out += 2 * ROWS16) {
    coarse_blocks<2>(b, index, lut, high, out);
  }
  if (index < last) coarse_blocks<1>(b, index, lut, high, out);
}

// Bits of the rows whose sums reach the floor.
inline uint32_t reaching(const int32x4_t sums[QUADS], int32_t floor) {
  const int32x4_t least = vdupq_n_s32(floor);
  uint32x4_t reached[QUADS];
  for (int v = 0; v < QUADS; ++v) reached[v] = vcgeq_s32(sums[v], least);
  const uint32x4_t any = vorrq_u32(vorrq_u32(reached[0], reached[1]), vorrq_u32(reached[2], reached[3]));
  return vmaxvq_u32(any) ? bits16(reached) : 0;
}

void neon_filter(const int32_t* scores, int64_t blocks, int32_t floor, uint16_t* masks) {
  for (int64_t b = 0; b < blocks; ++b, scores += ROWS16) {
    const int32x4_t sums[QUADS] = {vld1q_s32(scores), vld1q_s32(scores + 4), vld1q_s32(scores + 8),
                                   vld1q_s32(scores + 12)};
    masks[b] = static_cast<uint16_t>(reaching(sums, floor));
  }
}

// Sixteen bytes as floats.
inline void bytes16(const uint8_t* at, float32x4_t x[4]) {
  const uint8x16_t bytes = vld1q_u8(at);
  const uint16x8_t low = vmovl_u8(vget_low_u8(bytes)), high = vmovl_high_u8(bytes);
  x[0] = vcvtq_f32_u32(vmovl_u16(vget_low_u16(low)));
  x[1] = vcvtq_f32_u32(vmovl_high_u16(low));
  x[2] = vcvtq_f32_u32(vmovl_u16(vget_low_u16(high)));
  x[3] = vcvtq_f32_u32(vmovl_high_u16(high));
}

void neon_bound(const int32_t* scores, const uint8_t* errors, const uint8_t* rests, int64_t blocks,
                const Reach& reach, uint16_t* masks) {
  const float32x4_t floor = vdupq_n_f32(reach.head_floor);
  for (int64_t b = 0; b < blocks; ++b) {
    float32x4_t error[QUADS], rest[QUADS];
    uint32x4_t reached[QUADS];
    bytes16(errors + ROWS16 * b, error);
    bytes16(rests + ROWS16 * b, rest);
    for (int v = 0; v < QUADS; ++v) {
      const float32x4_t score = vcvtq_f32_s32(vld1q_s32(scores + ROWS16 * b + 4 * v));
      const float32x4_t unknown = vaddq_f32(vmulq_n_f32(error[v], reach.head_error),
                                            vmulq_n_f32(rest[v], reach.head_rest));
      reached[v] = vcgeq_f32(vaddq_f32(vmulq_n_f32(score, reach.head_scale), unknown), floor);
    }
    masks[b] = bits16(reached);
  }
}

// Sums of four rows for four queries: lane k of q has four coordinates of query k.
ATTAR_DOTPROD inline void four_queries(int32x4_t sum[4], int8x16_t x, int8x16_t q) {
  sum[0] = vdotq_laneq_s32(sum[0], x, q, 0);
  sum[1] = vdotq_laneq_s32(sum[1], x, q, 1);
  sum[2] = vdotq_laneq_s32(sum[2], x, q, 2);
  sum[3] = vdotq_laneq_s32(sum[3], x, q, 3);
}

// The queries base … base + 3 of eight: sixteen accumulators.
ATTAR_DOTPROD inline void narrow_block(const Blocks& b, int64_t index, uint32_t perhaps,
                                       const int8_t* queries, const Slot* slots, int base) {
  const int8x16_t lut = table16(b.lut);
  const uint8_t* at = b.block(index);
  int32x4_t sum[QUADS][4] = {};
  for (int64_t g = 0; g < b.groups; ++g, at += 64) {
    const int8_t* q = queries + (2 * g * TOGETHER + base) * 4;
    const int8x16_t q_low = vld1q_s8(q), q_high = vld1q_s8(q + 4 * TOGETHER);
    for (int v = 0; v < QUADS; ++v) {
      const int8x16x2_t x = values16(at + 16 * v, lut);
      four_queries(sum[v], x.val[0], q_low);
      four_queries(sum[v], x.val[1], q_high);
    }
  }
  for (int k = 0; k < 4; ++k) {
    const int32x4_t mine[QUADS] = {sum[0][k], sum[1][k], sum[2][k], sum[3][k]};
    const uint32_t bits = reaching(mine, slots[base + k].floor()) & perhaps;
    if (bits == 0) continue;
    int32_t out[ROWS16];
    for (int v = 0; v < QUADS; ++v) vst1q_s32(out + 4 * v, mine[v]);
    slots[base + k].push(index, b.valid(index, bits), out);
  }
}

ATTAR_DOTPROD void neon_narrow(const Blocks& b, int64_t first, int64_t last, const int8_t* queries,
                               const Slot* slots, int count) {
  for (int64_t index = first; index < last; ++index) {
    const uint32_t perhaps = b.perhaps(index);
    if (perhaps == 0) continue;
    narrow_block(b, index, perhaps, queries, slots, 0);
    if (count > 4) narrow_block(b, index, perhaps, queries, slots, 4);
  }
}

ATTAR_DOTPROD int32_t neon_body(const uint8_t* row, int64_t bytes, const uint8_t* lut,
                                const int8_t* high, const int8_t* low) {
  const int8x16_t table = table16(lut);
  int32x4_t h = vdupq_n_s32(0), l = h;
  int64_t i = 0;
  for (; i + 16 <= bytes; i += 16) {
    const int8x16x2_t x = values16(row + i, table);
    h = vdotq_s32(vdotq_s32(h, x.val[0], vld1q_s8(high + i)), x.val[1], vld1q_s8(high + bytes + i));
    l = vdotq_s32(vdotq_s32(l, x.val[0], vld1q_s8(low + i)), x.val[1], vld1q_s8(low + bytes + i));
  }
  int32_t sum = vaddvq_s32(vaddq_s32(vshlq_n_s32(h, 7), l));
  for (; i < bytes; ++i) {
    const int a = lut[row[i] & 15], c = lut[row[i] >> 4];
    sum += 128 * (a * high[i] + c * high[bytes + i]) + a * low[i] + c * low[bytes + i];
  }
  return sum;
}

}  // namespace

const SketchKernels& neon_sketch_kernels() {
  static const SketchKernels neon = {neon_wide,   neon_coarse, neon_filter, neon_bound,
                                     neon_narrow, neon_body,   nullptr};
  return neon;
}

}  // namespace attar

#endif
