// (x - mean) A in AMX tiles (Intel SDM vol. 1, ch. 18): C[16 rows, 16 columns] += X[16, 32] B[32, 16].
//
// A float32 is two bfloat16, x = h + l up to 2^-17 of x, so that x A = l H + h L + h H up to 2^-16 of
// the sum of magnitudes, in float32 accumulators. Columns are taken in pairs of tiles for CHUNK rows
// at a time: a pair of columns and a chunk of rows both fit the second cache. A row's result depends
// on nothing else that is in the call.
#include "../native.h"

#if defined(ATTAR_X86) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#define ATTAR_BF16_TILES \
  __attribute__((target("avx2,avx512f,avx512bw,avx512vl,avx512bf16,amx-tile,amx-bf16")))
#endif

namespace attar {

namespace {

#ifdef ATTAR_BF16_TILES

constexpr int SIDE = 16;            // rows of a tile, and columns of its sums
constexpr int DEPTH = 32;           // bfloat16 in a row of a tile
constexpr int TILE = SIDE * DEPTH;  // of them in a tile
constexpr int64_t CHUNK = 64;

struct Rotation {
  int64_t dim, width;   // of x and of the result
  int64_t steps, tiles;  // tiles along both, the last ones padded with zeros
  const float* x;
  const float* mean;
  const uint16_t* matrix;  // [tiles steps 2 TILE], the high tile and the low one
  float* out;
};

struct alignas(64) Config {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Compilers do not see that tile loads read memory: nothing may move across.
inline void settle() { asm volatile("" ::: "memory"); }

// Rows first … last - 1 less the mean, as tiles [SIDE rows, steps, 2 TILE]; absent rows are zero.
ATTAR_BF16_TILES void split(const Rotation& r, int64_t first, int64_t last, uint16_t* out) {
  for (int64_t row = first; row < first + CHUNK && row / SIDE * SIDE < last; ++row) {
    const int64_t group = (row - first) / SIDE, line = (row - first) % SIDE;
    uint16_t* to = out + group * r.steps * 2 * TILE + line * DEPTH;
    for (int64_t step = 0; step < r.steps; ++step, to += 2 * TILE) {
      for (int64_t half = 0; half < DEPTH; half += 16) {
        const int64_t j = step * DEPTH + half;
        const int64_t left = row < last ? std::max<int64_t>(0, std::min<int64_t>(16, r.dim - j)) : 0;
        const __mmask16 mask = static_cast<__mmask16>((1u << left) - 1);
        const __m512 x = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, r.x + (left ? row * r.dim + j : 0)),
                                       _mm512_maskz_loadu_ps(mask, r.mean + (left ? j : 0)));
        const __m256i high = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x));
        const __m512 kept = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
        const __m256i low = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_sub_ps(x, kept)));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + half), high);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + TILE + half), low);
      }
    }
  }
}

// Sums of two groups of rows and two of columns in tiles 0 to 3; 4 and 5 are rows, 6 and 7 columns.
ATTAR_BF16_TILES void multiply(int64_t steps, const uint16_t* a, const uint16_t* b,
                               const uint16_t* c, const uint16_t* d) {
  settle();
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t step = 0; step < steps; ++step) {
    const int64_t at = step * 2 * TILE;
    _tile_loadd(4, a + at, 64);
    _tile_loadd(5, b + at, 64);
    _tile_loadd(6, c + at + TILE, 64);
    _tile_loadd(7, d + at + TILE, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    _tile_loadd(6, c + at, 64);
    _tile_loadd(7, d + at, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    _tile_loadd(4, a + at + TILE, 64);
    _tile_loadd(5, b + at + TILE, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

void keep(const Rotation& r, int64_t row, int64_t last, int64_t column, const float* tile) {
  const int64_t count = std::min<int64_t>(SIDE, r.width - column);
  for (int64_t i = 0; i < SIDE && row + i < last && count > 0; ++i) {
    std::copy(tile + i * SIDE, tile + i * SIDE + count, r.out + (row + i) * r.width + column);
  }
}

ATTAR_BF16_TILES void rotate(const Rotation& r, int64_t first, int64_t last) {
  const Config config;
  std::vector<uint16_t> room((CHUNK + SIDE) * r.steps * DEPTH * 2 + 32);
  auto* rows = reinterpret_cast<uint16_t*>((reinterpret_cast<uintptr_t>(room.data()) + 63) & ~63ull);
  alignas(64) float sums[4][SIDE * SIDE];
  settle();
  _tile_loadconfig(&config);
  const int64_t panel = r.steps * 2 * TILE;
  for (int64_t start = first; start < last; start += CHUNK) {
    const int64_t end = std::min(last, start + CHUNK);
    split(r, start, end, rows);
    for (int64_t t = 0; t < r.tiles; t += 2) {
      const uint16_t* left = r.matrix + t * panel;
      const uint16_t* right = t + 1 < r.tiles ? left + panel : left;
      for (int64_t row = start; row < end; row += 2 * SIDE) {
        const uint16_t* upper = rows + (row - start) / SIDE * panel;
        multiply(r.steps, upper, row + SIDE < end ? upper + panel : upper, left, right);
        if (row + 2 * SIDE <= end && (t + 2) * SIDE <= r.width) {
          float* to = r.out + row * r.width + t * SIDE;
          const int64_t stride = r.width * 4;
          _tile_stored(0, to, stride);
          _tile_stored(1, to + SIDE, stride);
          _tile_stored(2, to + SIDE * r.width, stride);
          _tile_stored(3, to + SIDE * r.width + SIDE, stride);
          settle();
          continue;
        }
        _tile_stored(0, sums[0], 64);
        _tile_stored(1, sums[1], 64);
        _tile_stored(2, sums[2], 64);
        _tile_stored(3, sums[3], 64);
        settle();
        for (int k = 0; k < 4; ++k) {
          keep(r, row + k / 2 * SIDE, end, (t + k % 2) * SIDE, sums[k]);
        }
      }
    }
  }
  _tile_release();
}

#endif

}  // namespace

}  // namespace attar

// Whether bfloat16 tiles can be used: the CPU has them (leaf 7), and the kernel, which saves tiles
// only for a process that asked, agrees. Threads and children inherit what it says.
ATTAR_API int32_t attar_rotation_tiles() {
#ifdef ATTAR_BF16_TILES
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  constexpr unsigned BF16 = 1u << 22, TILE = 1u << 24;
  constexpr long REQUEST = 0x1023, TILE_DATA = 18;
  __builtin_cpu_init();
  if (!(d & BF16) || !(d & TILE) || !__builtin_cpu_supports("avx512bf16") ||
      !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl")) {
    return 0;
  }
  return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
#else
  return 0;
#endif
}

// out [n width] = (x [n dim] - mean [dim]) times a matrix in tiles, where they can be used.
#ifdef ATTAR_BF16_TILES
ATTAR_API void attar_rotate(int32_t threads, int64_t n, int64_t dim, int64_t width, const float* x,
                            const float* mean, const uint16_t* matrix, float* out) {
  const attar::Rotation r{dim, width, (dim + attar::DEPTH - 1) / attar::DEPTH,
                          (width + attar::SIDE - 1) / attar::SIDE, x, mean, matrix, out};
  attar::parallel((n + attar::CHUNK - 1) / attar::CHUNK, threads,
                  [&](int64_t, int64_t first, int64_t last) {
                    attar::rotate(r, first * attar::CHUNK, std::min(n, last * attar::CHUNK));
                  });
}
#else
ATTAR_API void attar_rotate(int32_t, int64_t, int64_t, int64_t, const float*, const float*,
                            const uint16_t*, float*) {}
#endif
