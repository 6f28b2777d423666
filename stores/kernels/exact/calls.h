// Calls of this folder that other kernels build on; what they do is said where they are.
#pragma once

#include "decode.h"

ATTAR_API void attar_exact_near(const attar::Source* source, const uint8_t* table,
                                const int16_t* queries, const float* scale, const float* constant,
                                int64_t m, const int64_t* rows, int64_t c, int64_t kept,
                                int32_t threads, int32_t level, int64_t* out);

ATTAR_API void attar_exact_scores(const attar::Source* source, const float* coords,
                                  const float* constant, int64_t m, int64_t width,
                                  const int64_t* rows, int64_t c, int32_t threads, int32_t level,
                                  float* scores);
