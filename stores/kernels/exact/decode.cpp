// Decoders and canonical inner products (stores/score.py): 16 lanes, no fused multiply-add, lanes
// added in a fixed binary tree. The same bits on every level.
#include "decode.h"

namespace attar {

namespace {

constexpr int LANES = 16;

float from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class T>
T load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

const uint8_t* row_of(const Source& s, int64_t row) { return s.code + row * s.stride; }

void portable_row(const Source& s, int64_t row, float* y) { decode_rest(s, row, y, 0); }

void portable_dots(const float* q, const float* y, int64_t width, int rows, float* out) {
  for (int r = 0; r < rows; ++r, y += width) {
    float lanes[LANES] = {};
    for (int64_t j = 0; j < width; j += LANES) {
      for (int l = 0; l < LANES; ++l) lanes[l] += q[j + l] * y[j + l];
    }
    for (int half = LANES / 2; half > 0; half /= 2) {
      for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
    }
    out[r] = lanes[0];
  }
}

#ifdef ATTAR_X86

// Adds 4 lanes as the tree does: l with l + 2, then 0 with 1.
inline float sum4(__m128 v) {
  v = _mm_add_ps(v, _mm_movehl_ps(v, v));
  return _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps(v, v, 1)));
}

ATTAR_AVX2 inline float sum16(__m256 low, __m256 high) {
  const __m256 v = _mm256_add_ps(low, high);
  return sum4(_mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1)));
}

ATTAR_AVX2 void avx2_dots(const float* q, const float* y, int64_t width, int rows, float* out) {
  for (int r = 0; r < rows; r += 2) {
    const float* a = y + r * width;
    const float* b = r + 1 < rows ? a + width : a;
    __m256 a0 = _mm256_setzero_ps(), a1 = a0, b0 = a0, b1 = a0;
    for (int64_t j = 0; j < width; j += LANES) {
      const __m256 q0 = _mm256_loadu_ps(q + j), q1 = _mm256_loadu_ps(q + j + 8);
      a0 = _mm256_add_ps(a0, _mm256_mul_ps(q0, _mm256_loadu_ps(a + j)));
      a1 = _mm256_add_ps(a1, _mm256_mul_ps(q1, _mm256_loadu_ps(a + j + 8)));
      b0 = _mm256_add_ps(b0, _mm256_mul_ps(q0, _mm256_loadu_ps(b + j)));
      b1 = _mm256_add_ps(b1, _mm256_mul_ps(q1, _mm256_loadu_ps(b + j + 8)));
    }
    out[r] = sum16(a0, a1);
    if (r + 1 < rows) out[r + 1] = sum16(b0, b1);
  }
}

ATTAR_AVX512 inline float sum16(__m512 v) {
  return sum16(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
}

ATTAR_AVX512 void avx512_dots(const float* q, const float* y, int64_t width, int rows,
                              float* out) {
  int r = 0;
  for (; r + 4 <= rows; r += 4) {
    const float *a = y + r * width, *b = a + width, *c = b + width, *d = c + width;
    __m512 a0 = _mm512_setzero_ps(), b0 = a0, c0 = a0, d0 = a0;
    for (int64_t j = 0; j < width; j += LANES) {
      const __m512 x = _mm512_loadu_ps(q + j);
      a0 = _mm512_add_ps(a0, _mm512_mul_ps(x, _mm512_loadu_ps(a + j)));
      b0 = _mm512_add_ps(b0, _mm512_mul_ps(x, _mm512_loadu_ps(b + j)));
      c0 = _mm512_add_ps(c0, _mm512_mul_ps(x, _mm512_loadu_ps(c + j)));
      d0 = _mm512_add_ps(d0, _mm512_mul_ps(x, _mm512_loadu_ps(d + j)));
    }
    out[r] = sum16(a0), out[r + 1] = sum16(b0), out[r + 2] = sum16(c0), out[r + 3] = sum16(d0);
  }
  for (; r < rows; ++r) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t j = 0; j < width; j += LANES) {
      const __m512 part = _mm512_mul_ps(_mm512_loadu_ps(q + j), _mm512_loadu_ps(y + r * width + j));
      sum = _mm512_add_ps(sum, part);
    }
    out[r] = sum16(sum);
  }
}

inline __m128i load8(const uint8_t* at) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at));
}

inline __m128i load16(const uint8_t* at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}

// A float8 is a float16 with other exponent bits: shift the fields into place, convert (float16
// subnormals convert exactly), multiply by the power of two between the biases.
template <int KIND>
ATTAR_AVX2 inline __m256 wide8(const uint8_t* x, int j) {
  if (KIND == FLOAT32) return _mm256_loadu_ps(reinterpret_cast<const float*>(x) + j);
  if (KIND == FLOAT16) return _mm256_cvtph_ps(load16(x + 2 * j));
  if (KIND == BFLOAT16) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load16(x + 2 * j)), 16));
  }
  if (KIND == INT8) return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load8(x + j)));
  if (KIND == UINT8) return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load8(x + j)));
  const __m128i w = _mm_cvtepu8_epi16(load8(x + j));
  if (KIND == FLOAT8_E5M2) return _mm256_cvtph_ps(_mm_slli_epi16(w, 8));
  const __m128i sign = _mm_slli_epi16(_mm_and_si128(w, _mm_set1_epi16(0x80)), 8);
  const __m128i size = _mm_and_si128(w, _mm_set1_epi16(0x7f));
  const bool e4 = KIND == FLOAT8_E4M3;
  const __m128i half = _mm_or_si128(sign, _mm_slli_epi16(size, e4 ? 7 : 6));
  return _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(e4 ? 256.0f : 4096.0f));
}

template <int KIND>
ATTAR_AVX2 void avx2_row(const Source& s, int64_t row, float* y) {
  const uint8_t* x = row_of(s, row);
  int j = 0;
  for (; j + 8 <= s.width; j += 8) _mm256_storeu_ps(y + j, wide8<KIND>(x, j));
  decode_rest(s, row, y, j);
}

ATTAR_AVX2 inline __m256i load32(const uint8_t* at) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}

template <int KIND>
ATTAR_AVX512 inline __m512 wide16(const uint8_t* x, int j) {
  if (KIND == FLOAT32) return _mm512_loadu_ps(reinterpret_cast<const float*>(x) + j);
  if (KIND == FLOAT16) return _mm512_cvtph_ps(load32(x + 2 * j));
  if (KIND == BFLOAT16) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load32(x + 2 * j)), 16));
  }
  if (KIND == INT8) return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load16(x + j)));
  if (KIND == UINT8) return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load16(x + j)));
  const __m256i w = _mm256_cvtepu8_epi16(load16(x + j));
  if (KIND == FLOAT8_E5M2) return _mm512_cvtph_ps(_mm256_slli_epi16(w, 8));
  const __m256i sign = _mm256_slli_epi16(_mm256_and_si256(w, _mm256_set1_epi16(0x80)), 8);
  const __m256i size = _mm256_and_si256(w, _mm256_set1_epi16(0x7f));
  const bool e4 = KIND == FLOAT8_E4M3;
  const __m256i half = _mm256_or_si256(sign, _mm256_slli_epi16(size, e4 ? 7 : 6));
  return _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(e4 ? 256.0f : 4096.0f));
}

template <int KIND>
ATTAR_AVX512 void avx512_row(const Source& s, int64_t row, float* y) {
  const uint8_t* x = row_of(s, row);
  int j = 0;
  for (; j + 16 <= s.width; j += 16) _mm512_storeu_ps(y + j, wide16<KIND>(x, j));
  decode_rest(s, row, y, j);
}

#endif  // ATTAR_X86

}  // namespace

float half_to_float(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t exponent = half >> 10 & 0x1f, fraction = half & 0x3ffu;
  if (exponent == 0) {  // subnormal: fraction * 2^-24, exact in float32
    const float value = static_cast<float>(fraction) * 5.9604644775390625e-8f;
    return sign ? -value : value;
  }
  const uint32_t wide = exponent == 31 ? 0xffu : exponent + 112;
  return from_bits(sign | wide << 23 | fraction << 13);
}

void decode_rest(const Source& s, int64_t row, float* y, int from) {
  const uint8_t* x = row_of(s, row);
  for (int j = from; j < s.width; ++j) {
    switch (s.kind) {
      case FLOAT32: y[j] = load<float>(x + 4 * j); break;
      case FLOAT16: y[j] = half_to_float(load<uint16_t>(x + 2 * j)); break;
      case BFLOAT16: y[j] = from_bits(uint32_t{load<uint16_t>(x + 2 * j)} << 16); break;
      case INT8: y[j] = static_cast<float>(static_cast<int8_t>(x[j])); break;
      case UINT8: y[j] = static_cast<float>(x[j]); break;
      default: y[j] = s.table[x[j]]; break;
    }
  }
}

const Kernels& kernels(int32_t level) {
  static const Kernels portable = {
      {portable_row, portable_row, portable_row, portable_row, portable_row, portable_row,
       portable_row, portable_row, decode_waterfill},
      portable_dots};
#ifdef ATTAR_X86
  static const Kernels avx2 = {
      {avx2_row<FLOAT32>, avx2_row<FLOAT16>, avx2_row<BFLOAT16>, avx2_row<FLOAT8_E4M3>,
       avx2_row<FLOAT8_E5M2>, avx2_row<FLOAT8_E3M4>, avx2_row<INT8>, avx2_row<UINT8>,
       decode_waterfill},
      avx2_dots};
  static const Kernels avx512 = {
      {avx512_row<FLOAT32>, avx512_row<FLOAT16>, avx512_row<BFLOAT16>, avx512_row<FLOAT8_E4M3>,
       avx512_row<FLOAT8_E5M2>, avx512_row<FLOAT8_E3M4>, avx512_row<INT8>, avx512_row<UINT8>,
       decode_waterfill_avx512},
      avx512_dots};
  static const Kernels vbmi = [] {
    Kernels with = avx512;
    with.decode[WATERFILL] = decode_waterfill_vbmi;
    return with;
  }();
  static const bool has_vbmi = __builtin_cpu_supports("avx512vbmi");
  if (level >= AVX512) return has_vbmi ? vbmi : avx512;
  if (level == AVX2) return avx2;
#elif defined(ATTAR_ARM)
  if (level == NEON) return neon_kernels();
#else
  (void)level;
#endif
  return portable;
}

}  // namespace attar
