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
    levels = waterfill_levels(p, width);
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

void waterfill_places(const Source& s, int64_t row, int32_t* places) {
  const Row r(s, row);
  for (int width = s.planes->widest; width > 0; --width) {
    for (int j = s.planes->counts[width]; j < s.planes->counts[width - 1]; ++j) {
      int index = 0;
      for (int plane = width - 1; plane > 0; --plane) index = 2 * index + bit(r.plane[plane], j);
      places[j] = (2 << width) - 4 + 4 * index + 2 * bit(r.c1, j) + bit(r.c0, j);
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


// The byte of up to 64 levels whose numbers are `index`; `top` is their ninth bit.
ATTAR_VBMI inline __m512i look_up_byte(const uint8_t* table, int width, __m512i index,
                                       __mmask64 upper, __mmask64 top) {
  if (width <= 5) return _mm512_permutexvar_epi8(index, _mm512_loadu_si512(table));
  const auto half = [&](const uint8_t* at) ATTAR_VBMI {
    return _mm512_permutex2var_epi8(_mm512_loadu_si512(at), index, _mm512_loadu_si512(at + 64));
  };
  if (width == 6) return half(table);
  const __m512i low = _mm512_mask_blend_epi8(upper, half(table), half(table + 128));
  if (width == 7) return low;
  const __m512i high = _mm512_mask_blend_epi8(upper, half(table + 256), half(table + 384));
  return _mm512_mask_blend_epi8(top, low, high);
}

// The numbers of levels of 64 dimensions, a byte each, and their ninth bits (of width 8 only).
struct Numbers {
  __m512i index;
  uint64_t top;
};

// The planes of one row, 64 dimensions after 64. Every 512 dimensions they are read at once: planes
// are short and end anywhere, where a masked load costs nothing and a copy of a few bytes does.
class Reader {
 public:
  ATTAR_VBMI Reader(const Planes& planes, int64_t row) : p_(planes) {
    for (int k = 0; k < p_.widest; ++k) plane_[k] = p_.plane[k] + row * plane_bytes(p_, k);
  }

  // Of dimensions j to j + 63, j a multiple of 64, in ascending calls from 0 on.
  ATTAR_VBMI Numbers next(int j) {
    const int word = j / 64 % 8;
    if (word == 0) fill(j);
    Numbers found{_mm512_maskz_set1_epi8(parity_[1][word], 1), 0};
    found.index = _mm512_mask_add_epi8(found.index, parity_[0][word], found.index, _mm512_set1_epi8(2));
    for (int k = 1; k < p_.widest && p_.counts[k] > j; ++k) {
      if (k == 7) {
        found.top = words_[k][word];
      } else {
        const __m512i value = _mm512_set1_epi8(static_cast<char>(2 << k));
        found.index = _mm512_mask_add_epi8(found.index, words_[k][word], found.index, value);
      }
    }
    while (width_ > 1 && p_.counts[width_ - 1] <= j) --width_;
    return found;
  }

  // The width of the first dimension that was read last; the others have at most as many bits.
  int width() const { return width_; }

 private:
  // Bits of dimensions j to j + 511 of a plane, zeros behind its end.
  ATTAR_VBMI __m512i part(int plane, int j) const {
    const int left = plane_bytes(p_, plane) - j / 8;
    if (left <= 0) return _mm512_setzero_si512();
    const __mmask64 some = left >= 64 ? ~uint64_t{0} : (uint64_t{1} << left) - 1;
    return _mm512_maskz_loadu_epi8(some, plane_[plane] + j / 8);
  }

  ATTAR_VBMI void fill(int j) {
    for (int k = 1; k < p_.widest && p_.counts[k] > j; ++k) {
      _mm512_store_si512(words_[k], part(k, j));
    }
    const __m512i here = part(0, j), behind = part(0, j + 64);
    for (int i = 0; i < 2; ++i) {
      __m512i sum = _mm512_setzero_si512();
      for (uint32_t tap = p_.taps[i]; tap; tap &= tap - 1) {
        const int k = __builtin_ctz(tap);
        const __m512i low = _mm512_srl_epi64(here, _mm_cvtsi32_si128(k));
        const __m512i high = _mm512_sll_epi64(behind, _mm_cvtsi32_si128(64 - k));  // 0 where k is
        sum = _mm512_xor_si512(sum, _mm512_or_si512(low, high));
      }
      _mm512_store_si512(parity_[i], sum);
    }
  }

  const Planes& p_;
  const uint8_t* plane_[WIDEST];
  int width_ = WIDEST;
  alignas(64) uint64_t words_[WIDEST][8];
  alignas(64) uint64_t parity_[2][8];
};

// Sixty-four dimensions at a time. A plane's eight bytes are a mask; numbers of levels are bytes,
// their floats come from four tables of single bytes and are put together by interleaving. Numbers
// are permuted first, so that interleaving, which stays within 128 bits, leaves dimensions in order.
ATTAR_VBMI void decode_waterfill_vbmi(const Source& s, int64_t row, float* y) {
  const Planes& p = *s.planes;
  if (p.dropped) return decode_waterfill_avx512(s, row, y);
  alignas(64) static const uint8_t* const places = [] {
    static uint8_t at[64];
    for (int lane = 0; lane < 4; ++lane) {
      for (int group = 0; group < 4; ++group) {
        for (int i = 0; i < 4; ++i) {
          at[16 * lane + 4 * group + i] = static_cast<uint8_t>(16 * group + 4 * lane + i);
        }
      }
    }
    return at;
  }();
  const __m512i place = _mm512_loadu_si512(places);
  Reader reader(p, row);
  for (int j = 0; j < s.width; j += 64) {
    auto [index, top] = reader.next(j);
    index = _mm512_permutexvar_epi8(place, index);
    const __mmask64 upper = _mm512_movepi8_mask(index);
    if (top) {
      const __m512i ninth = _mm512_permutexvar_epi8(place, _mm512_maskz_set1_epi8(top, -1));
      top = _mm512_movepi8_mask(ninth);
    }
    const int end = std::min(j + 64, s.width);
    __m512i byte[4];
    bool begun = false;
    for (int width = reader.width(); width > 0 && p.counts[width] < end; --width) {
      const int from = std::max(p.counts[width], j), to = std::min(p.counts[width - 1], end);
      if (from >= to) continue;
      const uint8_t* table = p.split + (2 << width) - 4;
      __mmask64 some = ~uint64_t{0};
      if (begun) {
        const __m512i mine = _mm512_maskz_set1_epi8(~uint64_t{0} << (from - j), -1);
        some = _mm512_movepi8_mask(_mm512_permutexvar_epi8(place, mine));
      }
      for (int i = 0; i < 4; ++i) {
        const __m512i found = look_up_byte(table + i * p.split_stride, width, index, upper, top);
        byte[i] = begun ? _mm512_mask_mov_epi8(byte[i], some, found) : found;
      }
      begun = true;
    }
    const __m512i a = _mm512_unpacklo_epi8(byte[0], byte[1]);
    const __m512i b = _mm512_unpackhi_epi8(byte[0], byte[1]);
    const __m512i c = _mm512_unpacklo_epi8(byte[2], byte[3]);
    const __m512i d = _mm512_unpackhi_epi8(byte[2], byte[3]);
    const __m512i part[4] = {_mm512_unpacklo_epi16(a, c), _mm512_unpackhi_epi16(a, c),
                             _mm512_unpacklo_epi16(b, d), _mm512_unpackhi_epi16(b, d)};
    for (int i = 0; i < 4 && j + 16 * i < end; ++i) {
      const int left = std::min(end - j - 16 * i, 16);
      const auto mask = static_cast<__mmask16>((1u << left) - 1);
      _mm512_mask_storeu_ps(y + j + 16 * i, mask, _mm512_castsi512_ps(part[i]));
    }
  }
}

ATTAR_VBMI void waterfill_bytes_vbmi(const Source& s, int64_t row, const uint8_t* table,
                                     uint8_t* y) {
  const Planes& p = *s.planes;
  Reader reader(p, row);
  for (int j = 0; j < s.width; j += 64) {
    const auto [index, top] = reader.next(j);
    const __mmask64 upper = _mm512_movepi8_mask(index);
    __m512i bytes = _mm512_setzero_si512();
    for (int width = reader.width(); width > 0 && p.counts[width] < j + 64; --width) {
      const int from = std::max(p.counts[width], j), to = std::min(p.counts[width - 1], j + 64);
      if (from >= to) continue;
      const __m512i found = look_up_byte(table + (2 << width) - 4, width, index, upper, top);
      bytes = _mm512_mask_mov_epi8(bytes, ~uint64_t{0} << (from - j), found);
    }
    _mm512_storeu_si512(y + j, bytes);
  }
}

#endif

}  // namespace attar
