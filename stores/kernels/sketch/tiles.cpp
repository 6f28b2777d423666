// The batch scan in AMX tiles (Intel SDM vol. 1, ch. 18): C[16 queries, 16 rows] += A * B.
//
// A is 16 queries times up to 64 coordinates as they lie in memory. B wants four coordinates of a row
// side by side and rows next to each other: the 64 low nibbles of a group, then the 64 high ones, are
// two of its lines. A chunk of blocks is expanded to bytes once, for all queries.
#include "blocks.h"

#ifdef ATTAR_TILES

namespace attar {

namespace {

constexpr int64_t CHUNK = 16;  // blocks, 24 kB of bytes at 96 coordinates
constexpr int QUERIES = 16;    // of a tile

struct Shape {
  int64_t steps;  // tiles along the coordinates
  int64_t lines;  // of B
  int64_t width;  // bytes of a query
  int64_t block;  // bytes of an expanded block

  explicit Shape(const Blocks& b)
      : steps(tile_steps(b)), lines(2 * tile_groups(b)), width(padded_dims(b)), block(16 * width) {}
};

struct alignas(64) Config {
  uint8_t palette = 1;
  uint8_t start = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
};

// Compilers do not see that tile loads read memory: nothing may move across.
inline void settle() { asm volatile("" ::: "memory"); }

// Tiles 0 to 3 are sums, 4 and 5 queries, 6 and 7 expanded blocks.
ATTAR_AMX void configure(const Shape& shape, int queries) {
  Config c;
  for (int t = 0; t < 8; ++t) {
    c.rows[t] = static_cast<uint8_t>(t < 6 ? queries : shape.lines);
    c.bytes[t] = static_cast<uint16_t>(t == 4 || t == 5 ? 4 * shape.lines : 64);
  }
  settle();
  _tile_loadconfig(&c);
}

ATTAR_AMX void expand(const Blocks& b, int64_t index, uint8_t* out) {
  const __m512i nibble = _mm512_set1_epi8(15);
  const __m512i lut =
      _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(b.lut)));
  const uint8_t* at = b.block(index);
  for (int64_t g = 0; g < b.groups; ++g, at += 64, out += 128) {
    // Blocks of other cells follow those of this one only by chance; the nearer kilobytes do help.
    _mm_prefetch(reinterpret_cast<const char*>(at + 4096), _MM_HINT_T0);
    const __m512i x = _mm512_loadu_si512(at);
    _mm512_storeu_si512(out, _mm512_shuffle_epi8(lut, _mm512_and_si512(x, nibble)));
    const __m512i high = _mm512_and_si512(_mm512_srli_epi16(x, 4), nibble);
    _mm512_storeu_si512(out + 64, _mm512_shuffle_epi8(lut, high));
  }
}

// Sums [2, 2, 16, 16] of 32 queries and two blocks, to `sums`.
ATTAR_AMX void two_by_two(const Shape& s, const int8_t* queries, const uint8_t* blocks,
                          int32_t* sums) {
  const int8_t* more = queries + QUERIES * s.width;
  const uint8_t* next = blocks + s.block;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t k = 0; k < s.steps; ++k) {
    _tile_loadd(4, queries + 4 * s.lines * k, s.width);
    _tile_loadd(6, blocks + 64 * s.lines * k, 64);
    _tile_loadd(5, more + 4 * s.lines * k, s.width);
    _tile_loadd(7, next + 64 * s.lines * k, 64);
    _tile_dpbsud(0, 4, 6);
    _tile_dpbsud(1, 4, 7);
    _tile_dpbsud(2, 5, 6);
    _tile_dpbsud(3, 5, 7);
  }
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + 256, 64);
  _tile_stored(2, sums + 512, 64);
  _tile_stored(3, sums + 768, 64);
}

// Sums [4, 16, 16] of up to 16 queries and four blocks.
ATTAR_AMX void one_by_four(const Shape& s, const int8_t* queries, const uint8_t* blocks,
                           int32_t* sums) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t k = 0; k < s.steps; ++k) {
    const uint8_t* at = blocks + 64 * s.lines * k;
    _tile_loadd(4, queries + 4 * s.lines * k, s.width);
    _tile_loadd(6, at, 64);
    _tile_loadd(7, at + s.block, 64);
    _tile_dpbsud(0, 4, 6);
    _tile_dpbsud(1, 4, 7);
    _tile_loadd(6, at + 2 * s.block, 64);
    _tile_loadd(7, at + 3 * s.block, 64);
    _tile_dpbsud(2, 4, 6);
    _tile_dpbsud(3, 4, 7);
  }
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + 256, 64);
  _tile_stored(2, sums + 512, 64);
  _tile_stored(3, sums + 768, 64);
}

// Offers what reaches the floors in sums [16, 16] of one block; floors int32 [16] keep up.
ATTAR_AMX inline void offer(const Blocks& b, int64_t index, const int32_t* sums, const Slot* slots,
                            int32_t* floors) {
  uint32_t reached[QUERIES], any = 0;
  for (int q = 0; q < QUERIES; ++q) {
    const __m512i floor = _mm512_set1_epi32(floors[q]);
    reached[q] = _mm512_cmpge_epi32_mask(_mm512_load_si512(sums + ROWS16 * q), floor);
    any |= reached[q];
  }
  if (any == 0) return;
  const uint32_t valid = b.valid(index, any);
  for (int q = 0; q < QUERIES; ++q) {
    if ((reached[q] & valid) == 0) continue;
    slots[q].push(index, reached[q] & valid, sums + ROWS16 * q);
    floors[q] = slots[q].floor();
  }
}

}  // namespace

ATTAR_AMX void amx_tiled(const Blocks& b, int64_t first, int64_t last, const int8_t* given,
                         const Slot* slots, int64_t count) {
  const Shape shape(b);
  // Whole tiles of queries are read where they are; the others, with room for 32, are copied.
  const int64_t whole = count / (2 * QUERIES) * (2 * QUERIES);
  std::vector<int8_t> rest(static_cast<size_t>(2 * QUERIES * shape.width), 0);
  std::copy(given + whole * shape.width, given + count * shape.width, rest.begin());
  std::vector<int32_t> floors(static_cast<size_t>(whole + 2 * QUERIES), HIGHEST);
  for (int64_t q = 0; q < count; ++q) floors[q] = slots[q].floor();
  const int few = static_cast<int>(count - whole);
  std::vector<uint8_t> room(static_cast<size_t>(CHUNK * shape.block + 64), 0);
  auto* expanded = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(room.data()) + 63) & ~uintptr_t{63});
  alignas(64) int32_t sums[4 * QUERIES * ROWS16] = {};
  int64_t chosen[CHUNK];
  for (int64_t at = first; at < last;) {
    int n = 0;
    for (; at < last && n < CHUNK; ++at) {
      if (b.perhaps(at)) chosen[n++] = at;
    }
    for (int i = 0; i < n; ++i) expand(b, chosen[i], expanded + i * shape.block);
    if (whole || few > QUERIES) configure(shape, QUERIES);
    for (int64_t q = 0; q < count && (q < whole || few > QUERIES); q += 2 * QUERIES) {
      const int8_t* queries = q < whole ? given + q * shape.width : rest.data();
      for (int i = 0; i < n; i += 2) {
        two_by_two(shape, queries, expanded + i * shape.block, sums);
        for (int part = 0; part < 4; ++part) {
          const int64_t from = q + part / 2 * QUERIES;
          if (i + part % 2 >= n || from >= count) continue;
          offer(b, chosen[i + part % 2], sums + 256 * part, slots + from, floors.data() + from);
        }
      }
    }
    if (few == 0 || few > QUERIES) continue;
    configure(shape, few);
    for (int i = 0; i < n; i += 4) {
      one_by_four(shape, rest.data(), expanded + i * shape.block, sums);
      for (int part = 0; part < std::min(4, n - i); ++part) {
        offer(b, chosen[i + part], sums + 256 * part, slots + whole, floors.data() + whole);
      }
    }
  }
  _tile_release();
}

}  // namespace attar

#endif  // ATTAR_TILES
