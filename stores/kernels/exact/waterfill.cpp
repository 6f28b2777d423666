// Decoder of the bit planes of stores/layouts/waterfill.py, whose docstring is the specification.
#include "decode.h"

namespace attar {

namespace {

constexpr int WORDS = 2048 / 64 + 2;  // stack room for 2,048 dimensions; wider codes use the heap

int plane_bytes(const Planes& p, int plane) { return (p.counts[plane] + 7) / 8; }

// out = XOR over the bits k of tap of (t >> k), 64 dimensions at a time; t has one word behind it.
void parity_bits(const uint64_t* t, int words, uint32_t tap, uint64_t* out) {
  std::fill(out, out + words, uint64_t{0});
  for (int k = 0; tap >> k; ++k) {
    if ((tap >> k & 1) == 0) continue;
    for (int w = 0; w < words; ++w) out[w] ^= k ? t[w] >> k | t[w + 1] << (64 - k) : t[w];
  }
}

// The planes of one row and the two parities of its trellis bits.
struct Row {
  const uint8_t* plane[WIDEST];
  std::vector<uint64_t> spill;
  uint64_t stack[3 * WORDS];
  uint64_t *c1, *c0;

  Row(const Source& s, int64_t row) {
    const Planes& p = *s.planes;
    for (int k = p.dropped; k < p.widest; ++k) plane[k] = p.plane[k] + row * plane_bytes(p, k);
    const int words = (s.width + 63) / 64;
    uint64_t* t = stack;
    if (words + 1 > WORDS) {
      spill.resize(3 * static_cast<size_t>(words + 1));
      t = spill.data();
    }
    c1 = t + words + 1, c0 = c1 + words + 1;
    if (p.dropped) return;
    std::fill(t, t + words + 1, uint64_t{0});
    std::memcpy(t, plane[0], plane_bytes(p, 0));
    parity_bits(t, words, p.taps[0], c1);
    parity_bits(t, words, p.taps[1], c0);
  }
};

int bit(const void* bits, int j) { return static_cast<const uint8_t*>(bits)[j / 8] >> (j % 8) & 1; }

// Where the levels of a width begin, and the planes [low, width) that number a level or a cell.
struct Table {
  const float* levels;
  int low;

  Table(const Planes& p, int width) {
    const int left = std::max(width - p.dropped, 0);
    levels = p.dropped ? p.coarse + (1 << width) - 2 + (1 << left) : p.fine + (2 << width) - 4;
    low = std::max(p.dropped, 1);
  }
};

void dimension(const Source& s, const Row& r, const Table& table, int width, int j, float* y) {
  int index = 0;
  for (int plane = width - 1; plane >= table.low; --plane) index = 2 * index + bit(r.plane[plane], j);
  if (s.planes->dropped == 0) index = 4 * index + 2 * bit(r.c1, j) + bit(r.c0, j);
  y[j] = table.levels[index];
}

}  // namespace

void decode_waterfill(const Source& s, int64_t row, float* y) {
  const Row r(s, row);
  for (int width = s.planes->widest; width > 0; --width) {
    const Table table(*s.planes, width);
    for (int j = s.planes->counts[width]; j < s.planes->counts[width - 1]; ++j) {
      dimension(s, r, table, width, j, y);
    }
  }
}

#ifdef ATTAR_X86

ATTAR_AVX512 inline __mmask16 mask16(const void* bits, int j) {
  uint16_t mask;
  std::memcpy(&mask, static_cast<const uint8_t*>(bits) + j / 8, 2);
  return mask;
}

// A table of at most 64 levels in four registers; a larger one is read by gathers, which cost more.
struct Shuffled {
  __m512 part[4];
  const float* levels;
  int size;

  ATTAR_AVX512 Shuffled(const float* table, int entries) : levels(table), size(entries) {
    for (int k = 0; k < 4 && size <= 64; ++k) {
      const int left = std::min(std::max(size - 16 * k, 0), 16);
      part[k] = _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << left) - 1), table + 16 * k);
    }
  }

  ATTAR_AVX512 __m512 look_up(__m512i index) const {
    if (size > 64) return _mm512_i32gather_ps(index, levels, 4);
    const __m512 low = _mm512_permutex2var_ps(part[0], index, part[1]);
    if (size <= 32) return low;
    const __m512 high = _mm512_permutex2var_ps(part[2], index, part[3]);
    const __mmask16 upper = _mm512_cmpge_epi32_mask(index, _mm512_set1_epi32(32));
    return _mm512_mask_blend_ps(upper, low, high);
  }
};

// Sixteen dimensions of one width at a time: a plane's two bytes are a mask register.
ATTAR_AVX512 void decode_waterfill_avx512(const Source& s, int64_t row, float* y) {
  const Row r(s, row);
  const Planes& p = *s.planes;
  const __m512i one = _mm512_set1_epi32(1), two = _mm512_set1_epi32(2);
  for (int width = p.widest; width > 0; --width) {
    const Table table(p, width);
    const int bits = p.dropped ? std::max(width - p.dropped, 0) : width + 1;
    const Shuffled shuffled(table.levels, 1 << bits);
    int j = p.counts[width];
    for (; j + 16 <= p.counts[width - 1]; j += 16) {
      __m512i index = _mm512_setzero_si512();
      for (int plane = width - 1; plane >= table.low; --plane) {
        index = _mm512_add_epi32(index, index);
        index = _mm512_mask_add_epi32(index, mask16(r.plane[plane], j), index, one);
      }
      if (p.dropped == 0) {
        index = _mm512_slli_epi32(index, 2);
        index = _mm512_mask_or_epi32(index, mask16(r.c1, j), index, two);
        index = _mm512_mask_or_epi32(index, mask16(r.c0, j), index, one);
      }
      _mm512_storeu_ps(y + j, shuffled.look_up(index));
    }
    for (; j < p.counts[width - 1]; ++j) dimension(s, r, table, width, j, y);
  }
}

#endif

}  // namespace attar
