// Codes of one document to float32 levels, for every code type and instruction set level.
#pragma once

#include "../native.h"

namespace attar {

enum Kind : int32_t {
  FLOAT32 = 0,
  FLOAT16 = 1,
  BFLOAT16 = 2,
  FLOAT8_E4M3 = 3,
  FLOAT8_E5M2 = 4,
  FLOAT8_E3M4 = 5,
  INT8 = 6,
  UINT8 = 7,
  WATERFILL = 8,
  KINDS = 9,
};

constexpr int WIDEST = 8;

// The planes of stores/layouts/waterfill.py; `plane[p]`, p >= dropped, has stride
// ceil(counts[p] / 8).
struct Planes {
  int32_t dropped;
  int32_t widest;
  int32_t counts[WIDEST + 1];
  uint32_t taps[2];
  const uint8_t* plane[WIDEST];
  const float* fine;
  const float* coarse;
  const uint8_t* split;  // byte i of fine[k] is split[i * split_stride + k], 512 bytes to spare
  int64_t split_stride;
};

// A matrix of codes. scale float16 [rows] or null, sqnorm float32 [rows] or null; table: the 256
// values of a float8 type; planes: of waterfill, whose `code` is null.
struct Source {
  int32_t kind;
  int32_t width;
  int64_t rows;
  int64_t stride;
  const uint8_t* code;
  const uint16_t* scale;
  const float* sqnorm;
  const float* table;
  const Planes* planes;
};

using Decode = void (*)(const Source&, int64_t row, float* y);
using Dots = void (*)(const float* q, const float* y, int64_t width, int rows, float* out);

struct Kernels {
  Decode decode[KINDS];
  Dots dots;
};

const Kernels& kernels(int32_t level);
float half_to_float(uint16_t half);
void decode_waterfill(const Source&, int64_t row, float* y);
#ifdef ATTAR_X86
void decode_waterfill_avx512(const Source&, int64_t row, float* y);
void decode_waterfill_vbmi(const Source&, int64_t row, float* y);
#endif

}  // namespace attar
