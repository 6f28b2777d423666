// Decoders, canonical inner products and integer ones in NEON; the bits are those of the portable
// level. Products and sums stay apart: the build forbids what fuses them.
#include "../neon.h"

#ifdef ATTAR_ARM

#include "calls.h"

namespace attar {

namespace {

constexpr int LANES = 16;

// Adds lanes as the tree does: l with l + 8, l + 4, l + 2, then 0 with 1.
inline float sum16(const float32x4_t v[4]) {
  const float32x4_t four = vaddq_f32(vaddq_f32(v[0], v[2]), vaddq_f32(v[1], v[3]));
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

// COUNT rows at a time: a query's coordinates are read once for all of them.
template <int COUNT>
inline void dots(const float* q, const float* y, int64_t width, float* out) {
  float32x4_t sum[COUNT][4];
  for (int r = 0; r < COUNT; ++r) {
    for (int i = 0; i < 4; ++i) sum[r][i] = vdupq_n_f32(0);
  }
  for (int64_t j = 0; j < width; j += LANES) {
    for (int i = 0; i < 4; ++i) {
      const float32x4_t x = vld1q_f32(q + j + 4 * i);
      for (int r = 0; r < COUNT; ++r) {
        const float32x4_t product = vmulq_f32(x, vld1q_f32(y + r * width + j + 4 * i));
        sum[r][i] = vaddq_f32(sum[r][i], product);
      }
    }
  }
  for (int r = 0; r < COUNT; ++r) out[r] = sum16(sum[r]);
}

void neon_dots(const float* q, const float* y, int64_t width, int rows, float* out) {
  int r = 0;
  for (; r + 4 <= rows; r += 4) dots<4>(q, y + r * width, width, out + r);
  for (; r < rows; ++r) dots<1>(q, y + r * width, width, out + r);
}

inline float32x4x2_t floats(int16x8_t x) {
  return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(x))), vcvtq_f32_s32(vmovl_high_s16(x))};
}

inline float32x4x2_t halves(uint16x8_t x) {
  const float16x8_t half = vreinterpretq_f16_u16(x);
  return {vcvt_f32_f16(vget_low_f16(half)), vcvt_high_f32_f16(half)};
}

inline uint16x8_t load16(const uint8_t* at) { return vreinterpretq_u16_u8(vld1q_u8(at)); }

// A float8 is a float16 with other exponent bits; see wide8 of decode.cpp.
template <int KIND>
inline float32x4x2_t float8(uint16x8_t w) {
  if (KIND == FLOAT8_E5M2) return halves(vshlq_n_u16(w, 8));
  const bool e4 = KIND == FLOAT8_E4M3;
  const uint16x8_t sign = vshlq_n_u16(vandq_u16(w, vdupq_n_u16(0x80)), 8);
  const uint16x8_t size = vandq_u16(w, vdupq_n_u16(0x7f));
  const float32x4x2_t x = halves(vorrq_u16(sign, e4 ? vshlq_n_u16(size, 7) : vshlq_n_u16(size, 6)));
  const float32x4_t unit = vdupq_n_f32(e4 ? 256.0f : 4096.0f);
  return {vmulq_f32(x.val[0], unit), vmulq_f32(x.val[1], unit)};
}

// Dimensions j to j + 7 of a row.
template <int KIND>
inline float32x4x2_t wide8(const uint8_t* x, int j) {
  if (KIND == FLOAT32) {
    return {vreinterpretq_f32_u8(vld1q_u8(x + 4 * j)), vreinterpretq_f32_u8(vld1q_u8(x + 4 * j + 16))};
  }
  if (KIND == FLOAT16) return halves(load16(x + 2 * j));
  if (KIND == BFLOAT16) {
    const uint16x8_t w = load16(x + 2 * j);
    return {vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(w), 16)),
            vreinterpretq_f32_u32(vshll_high_n_u16(w, 16))};
  }
  if (KIND == INT8) return floats(vmovl_s8(vreinterpret_s8_u8(vld1_u8(x + j))));
  const uint16x8_t w = vmovl_u8(vld1_u8(x + j));
  return KIND == UINT8 ? floats(vreinterpretq_s16_u16(w)) : float8<KIND>(w);
}

template <int KIND>
void neon_row(const Source& s, int64_t row, float* y) {
  const uint8_t* x = s.code + row * s.stride;
  int j = 0;
  for (; j + 8 <= s.width; j += 8) {
    const float32x4x2_t wide = wide8<KIND>(x, j);
    vst1q_f32(y + j, wide.val[0]);
    vst1q_f32(y + j + 4, wide.val[1]);
  }
  decode_rest(s, row, y, j);
}

// Bytes j to j + 15 as two times eight int16.
template <bool SIGNED>
inline int16x8x2_t wide16(const uint8_t* x) {
  const uint8x16_t bytes = vld1q_u8(x);
  if (SIGNED) {
    const int8x16_t whole = vreinterpretq_s8_u8(bytes);
    return {vmovl_s8(vget_low_s8(whole)), vmovl_high_s8(whole)};
  }
  return {vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))),
          vreinterpretq_s16_u16(vmovl_high_u8(bytes))};
}

template <bool SIGNED>
inline int32_t neon_dot(const uint8_t* x, const int16_t* q, int64_t n) {
  int32x4_t sum[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
  int64_t j = 0;
  for (; j + 16 <= n; j += 16) {
    const int16x8x2_t wide = wide16<SIGNED>(x + j);
    for (int half = 0; half < 2; ++half) {
      const int16x8_t query = vld1q_s16(q + j + 8 * half), w = wide.val[half];
      sum[2 * half] = vmlal_s16(sum[2 * half], vget_low_s16(w), vget_low_s16(query));
      sum[2 * half + 1] = vmlal_high_s16(sum[2 * half + 1], w, query);
    }
  }
  int32_t total = vaddvq_s32(vaddq_s32(vaddq_s32(sum[0], sum[1]), vaddq_s32(sum[2], sum[3])));
  for (; j < n; ++j) total += (SIGNED ? static_cast<int8_t>(x[j]) : int32_t{x[j]}) * q[j];
  return total;
}

}  // namespace

int32_t neon_signed_dot(const uint8_t* x, const int16_t* q, int64_t n) {
  return neon_dot<true>(x, q, n);
}

int32_t neon_unsigned_dot(const uint8_t* x, const int16_t* q, int64_t n) {
  return neon_dot<false>(x, q, n);
}

const Kernels& neon_kernels() {
  static const Kernels neon = {
      {neon_row<FLOAT32>, neon_row<FLOAT16>, neon_row<BFLOAT16>, neon_row<FLOAT8_E4M3>,
       neon_row<FLOAT8_E5M2>, neon_row<FLOAT8_E3M4>, neon_row<INT8>, neon_row<UINT8>,
       decode_waterfill_neon},
      neon_dots};
  return neon;
}

}  // namespace attar

#endif
