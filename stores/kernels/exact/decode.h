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
constexpr int64_t AHEAD = 16;  // rows that are on their way from memory

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

// Where the levels of a width begin.
inline const float* waterfill_levels(const Planes& p, int width) {
  const int left = std::max(width - p.dropped, 0);
  return p.dropped ? p.coarse + (1 << width) - 2 + (1 << left) : p.fine + (2 << width) - 4;
}

using Decode = void (*)(const Source&, int64_t row, float* y);
using Dots = void (*)(const float* q, const float* y, int64_t width, int rows, float* out);

struct Kernels {
  Decode decode[KINDS];
  Dots dots;
};

// Starts to bring a row from memory; single rows are too short for hardware prefetchers.
ATTAR_INLINE void fetch(const Source& s, int64_t row) {
  if (row < 0) return;
  if (s.code) fetch<SECOND_LEVEL>(s.code + row * s.stride, s.stride);
  if (s.scale) fetch<SECOND_LEVEL>(s.scale + row, 2);
  if (s.sqnorm) fetch<SECOND_LEVEL>(s.sqnorm + row, 4);
  for (int p = s.planes ? s.planes->dropped : WIDEST; p < (s.planes ? s.planes->widest : 0); ++p) {
    const int64_t bytes = (s.planes->counts[p] + 7) / 8;
    fetch<SECOND_LEVEL>(s.planes->plane[p] + row * bytes, bytes);
  }
}

const Kernels& kernels(int32_t level);
float half_to_float(uint16_t half);
// Columns [from, width) of a row; the vector loops leave the rest of a row to it.
void decode_rest(const Source&, int64_t row, float* y, int from);
void decode_waterfill(const Source&, int64_t row, float* y);
// The number of the level of every dimension in `fine`, int32 [width]; no plane may be dropped.
void waterfill_places(const Source&, int64_t row, int32_t* places);
#ifdef ATTAR_X86
void decode_waterfill_avx512(const Source&, int64_t row, float* y);
void decode_waterfill_vbmi(const Source&, int64_t row, float* y);
// Levels in a byte each instead of four: table uint8 [levels + 512], width a multiple of 64.
void waterfill_bytes_vbmi(const Source&, int64_t row, const uint8_t* table, uint8_t* y);
#endif
#ifdef ATTAR_ARM
const Kernels& neon_kernels();
void decode_waterfill_neon(const Source&, int64_t row, float* y);
// As waterfill_bytes_vbmi.
void waterfill_bytes_neon(const Source&, int64_t row, const uint8_t* table, uint8_t* y);
#endif

}  // namespace attar
