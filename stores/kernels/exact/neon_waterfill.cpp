// Waterfill's bit planes in NEON: sixteen dimensions of one width at a time, as waterfill.cpp reads
// them one by one. Counts of dimensions are multiples of eight but for the last.
#include "../neon.h"

#ifdef ATTAR_ARM

#include "decode.h"

namespace attar {

namespace {

// Byte v is all ones where bit v of the sixteen is set.
inline uint8x16_t spread(uint32_t bits) {
  const uint8x16_t weight = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x8_t low = vdup_n_u8(static_cast<uint8_t>(bits));
  const uint8x8_t high = vdup_n_u8(static_cast<uint8_t>(bits >> 8));
  return vtstq_u8(vcombine_u8(low, high), weight);
}

// Numbers of levels among those of their width; of width 8 the ninth bit is apart, all ones or zero.
struct Numbers {
  uint8x16_t index, ninth;
};

// The planes of one row, read in ascending order.
class Reader {
 public:
  Reader(const Planes& planes, int64_t row) : p_(planes), low_(std::max(planes.dropped, 1)) {
    for (int k = p_.dropped; k < p_.widest; ++k) plane_[k] = p_.plane[k] + row * bytes(k);
  }

  // Of the dimensions j to `to` - 1 of one width, within sixteen whose first is a multiple of it.
  Numbers operator()(int width, int j, int to) {
    Numbers found{vdupq_n_u8(0), vdupq_n_u8(0)};
    int value = 1;
    if (p_.dropped == 0) {
      if (j >= begin_ + WINDOW) look(j / WINDOW * WINDOW);
      const uint8x16_t low = vandq_u8(spread(at(c0_, j)), vdupq_n_u8(1));
      found.index = vorrq_u8(low, vandq_u8(spread(at(c1_, j)), vdupq_n_u8(2)));
      value = 4;
    }
    for (int k = low_; k < width; ++k, value *= 2) {
      const uint8_t* plane = plane_[k] + j / 8;
      const uint8x16_t bits = spread(to > j + 8 ? plane[0] | plane[1] << 8 : plane[0]);
      const uint8x16_t some = vandq_u8(bits, vdupq_n_u8(static_cast<uint8_t>(value)));
      found.index = vorrq_u8(found.index, some);
      if (value == 256) found.ninth = bits;
    }
    return found;
  }

 private:
  static constexpr int WINDOW = 32;  // 64 bits less the highest bit of a tap

  int bytes(int plane) const { return (p_.counts[plane] + 7) / 8; }

  uint32_t at(uint64_t parities, int j) const {
    return static_cast<uint32_t>(parities >> (j - begin_));
  }

  // The parities of WINDOW dimensions from `begin` on.
  void look(int begin) {
    uint64_t t = 0;
    std::memcpy(&t, plane_[0] + begin / 8, static_cast<size_t>(std::min(8, bytes(0) - begin / 8)));
    begin_ = begin, c1_ = parity(t, p_.taps[0]), c0_ = parity(t, p_.taps[1]);
  }

  static uint64_t parity(uint64_t t, uint32_t taps) {
    uint64_t sum = 0;
    for (; taps; taps &= taps - 1) sum ^= t >> __builtin_ctz(taps);
    return sum;
  }

  const Planes& p_;
  const int low_;
  const uint8_t* plane_[WIDEST] = {};
  int begin_ = -WINDOW;
  uint64_t c1_ = 0, c0_ = 0;
};

// take(width, j, to, numbers) for all dimensions of a row.
template <class Take>
inline void each(const Source& s, int64_t row, const Take& take) {
  const Planes& p = *s.planes;
  Reader reader(p, row);
  for (int width = p.widest; width > 0; --width) {
    for (int j = p.counts[width], to = j; j < p.counts[width - 1]; j = to) {
      to = std::min((j | 15) + 1, p.counts[width - 1]);
      take(width, j, to, reader(width, j, to));
    }
  }
}

// Bytes of a table of 2, 4, … 512 of them, with room behind it for registers that are filled whole.
inline uint8x16_t look_up(const uint8_t* table, int size, uint8x16_t index) {
  uint8x16_t found = vdupq_n_u8(0);
  for (int from = 0; from < size; from += 64) {
    const uint8x16_t here = vsubq_u8(index, vdupq_n_u8(static_cast<uint8_t>(from)));
    found = vqtbx4q_u8(found, vld1q_u8_x4(table + from), here);
  }
  return found;
}

}  // namespace

void decode_waterfill_neon(const Source& s, int64_t row, float* y) {
  const Planes& p = *s.planes;
  each(s, row, [&](int width, int j, int to, const Numbers& found) {
    const float* levels = waterfill_levels(p, width);
    uint8_t index[16], ninth[16];
    vst1q_u8(index, found.index);
    vst1q_u8(ninth, found.ninth);
    for (int i = 0; j + i < to; ++i) y[j + i] = levels[index[i] | (ninth[i] & 1) << 8];
  });
}

void waterfill_bytes_neon(const Source& s, int64_t row, const uint8_t* table, uint8_t* y) {
  each(s, row, [&](int width, int j, int to, const Numbers& found) {
    const uint8_t* mine = table + (2 << width) - 4;
    uint8x16_t bytes = look_up(mine, std::min(2 << width, 256), found.index);
    if (width == 8) bytes = vbslq_u8(found.ninth, look_up(mine + 256, 256, found.index), bytes);
    if (to > j + 8) return vst1q_u8(y + j, bytes);
    vst1_u8(y + j, vget_low_u8(bytes));
  });
}

}  // namespace attar

#endif
