// Decoder of the bit planes of stores/layouts/waterfill.py, whose docstring is the specification.
#include "decode.h"

namespace attar {

namespace {

constexpr int WORDS = 2048 / 64 + 2;  // stack room for 2,048 dimensions; wider codes use the heap

int plane_bytes(const Planes& p, int plane) { return (p.counts[plane] + 7) / 8; }

// The trellis bits of a row, one bit a dimension: the last bit of each width from its own plane.
void trellis_bits(const Planes& p, int64_t row, uint8_t* t) {
  for (int plane = 0; plane < p.present; ++plane) {
    const int stride = plane_bytes(p, plane), from = p.counts[plane + 1] / 8;
    if (stride > from) std::memcpy(t + from, p.plane[plane] + row * stride + from, stride - from);
  }
}

// out = XOR over the bits k of tap of (t >> k), 64 dimensions at a time; t has one word behind it.
void parity_bits(const uint64_t* t, int words, uint32_t tap, uint64_t* out) {
  std::fill(out, out + words, uint64_t{0});
  for (int k = 0; tap >> k; ++k) {
    if ((tap >> k & 1) == 0) continue;
    for (int w = 0; w < words; ++w) out[w] ^= k ? t[w] >> k | t[w + 1] << (64 - k) : t[w];
  }
}

struct Row {
  std::vector<uint64_t> spill;
  uint64_t stack[3 * WORDS];
  uint64_t *t, *c1, *c0;

  Row(const Source& s, int64_t row) {
    const int words = (s.width + 63) / 64;
    uint64_t* at = stack;
    if (words + 1 > WORDS) {
      spill.resize(3 * static_cast<size_t>(words + 1));
      at = spill.data();
    }
    t = at, c1 = at + words + 1, c0 = c1 + words + 1;
    std::fill(t, t + words + 1, uint64_t{0});
    trellis_bits(*s.planes, row, reinterpret_cast<uint8_t*>(t));
    parity_bits(t, words, s.planes->taps[0], c1);
    parity_bits(t, words, s.planes->taps[1], c0);
  }
};

int bit(const void* bits, int j) { return static_cast<const uint8_t*>(bits)[j / 8] >> (j % 8) & 1; }

// The first `count` planes of dimension j as a number, most significant first.
int cell(const Planes& p, int64_t row, int j, int count) {
  int v = 0;
  for (int plane = 0; plane < count; ++plane) {
    v = 2 * v + bit(p.plane[plane] + row * plane_bytes(p, plane), j);
  }
  return v;
}

void dimension(const Source& s, const Row& r, int64_t row, int width, int j, float* y) {
  const Planes& p = *s.planes;
  if (width > p.present) {
    y[j] = p.coarse[(1 << width) - 2 + (1 << p.present) + cell(p, row, j, p.present)];
  } else {
    const int subset = 2 * bit(r.c1, j) + bit(r.c0, j);
    y[j] = p.fine[(2 << width) - 4 + 4 * cell(p, row, j, width - 1) + subset];
  }
}

}  // namespace

void decode_waterfill(const Source& s, int64_t row, float* y) {
  const Row r(s, row);
  for (int width = s.planes->widest; width > 0; --width) {
    for (int j = s.planes->counts[width]; j < s.planes->counts[width - 1]; ++j) {
      dimension(s, r, row, width, j, y);
    }
  }
}

#ifdef ATTAR_X86

// Sixteen dimensions of one width at a time: a plane's two bytes are a mask register.
ATTAR_AVX512 void decode_waterfill_avx512(const Source& s, int64_t row, float* y) {
  const Row r(s, row);
  const Planes& p = *s.planes;
  const uint8_t* at[WIDEST];
  for (int plane = 0; plane < p.present; ++plane) {
    at[plane] = p.plane[plane] + row * plane_bytes(p, plane);
  }
  const uint8_t *c1 = reinterpret_cast<uint8_t*>(r.c1), *c0 = reinterpret_cast<uint8_t*>(r.c0);
  const auto mask16 = [](const uint8_t* bits, int j) {
    uint16_t m;
    std::memcpy(&m, bits + j / 8, 2);
    return m;
  };
  for (int width = p.widest; width > 0; --width) {
    const int end = p.counts[width - 1];
    const bool lost = width > p.present;
    const int cells = lost ? p.present : width - 1;
    const float* table =
        lost ? p.coarse + (1 << width) - 2 + (1 << p.present) : p.fine + (2 << width) - 4;
    int j = p.counts[width];
    for (; j + 16 <= end; j += 16) {
      __m512i index = _mm512_setzero_si512();
      for (int plane = 0; plane < cells; ++plane) {
        index = _mm512_add_epi32(index, index);
        index = _mm512_mask_add_epi32(index, mask16(at[plane], j), index, _mm512_set1_epi32(1));
      }
      if (!lost) {
        index = _mm512_slli_epi32(index, 2);
        index = _mm512_mask_or_epi32(index, mask16(c1, j), index, _mm512_set1_epi32(2));
        index = _mm512_mask_or_epi32(index, mask16(c0, j), index, _mm512_set1_epi32(1));
      }
      _mm512_storeu_ps(y + j, _mm512_i32gather_ps(index, table, 4));
    }
    for (; j < end; ++j) dimension(s, r, row, width, j, y);
  }
}

#endif

}  // namespace attar
