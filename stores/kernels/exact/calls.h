// Calls of this folder that other kernels build on; what they do is said where they are.
#pragma once

#include "decode.h"

namespace attar {

// sum_j x_j * q_j, x bytes, signed or not.
using Dot = int32_t (*)(const uint8_t* x, const int16_t* q, int64_t n);
Dot signed_dot(int32_t level);
#ifdef ATTAR_ARM
int32_t neon_signed_dot(const uint8_t* x, const int16_t* q, int64_t n);
int32_t neon_unsigned_dot(const uint8_t* x, const int16_t* q, int64_t n);
#endif

}  // namespace attar

ATTAR_API void attar_exact_near(const attar::Source* source, const uint8_t* table,
                                const int16_t* queries, const float* scale, const float* constant,
                                int64_t m, const int64_t* rows, int64_t c, int64_t kept,
                                int32_t threads, int32_t level, int64_t* out);

ATTAR_API void attar_exact_scores(const attar::Source* source, const float* coords,
                                  const float* constant, int64_t m, int64_t width,
                                  const int64_t* rows, int64_t c, int32_t threads, int32_t level,
                                  float* scores);
