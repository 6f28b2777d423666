// Integer scores of sketch blocks. Layout (see reference.py): block b holds rows 16 b … 16 b + 15;
// byte [b, g, 4 v + i] has the code of row 16 b + v, dimension 8 g + i in its low nibble and
// dimension 8 g + 4 + i in its high nibble. A code stands for the value lut[code] in 0 … 63.
#pragma once

#include "../native.h"

namespace attar {

constexpr int ROWS16 = 16;
constexpr int TOGETHER = 8;  // queries that narrow() scores at once

struct Blocks {
  const uint8_t* data;
  int64_t rows;
  int64_t groups;
  const uint8_t* lut;
  const uint8_t* mask;  // bits of allowed rows, padded to a multiple of 16 rows, or null

  int64_t count() const { return (rows + ROWS16 - 1) / ROWS16; }
  int64_t bytes() const { return groups * 64; }
  const uint8_t* block(int64_t b) const { return data + b * bytes(); }

  // Bit v says whether row 16 b + v exists and is allowed.
  uint32_t valid(int64_t b) const {
    uint32_t bits = 0xffff;
    if (mask) bits = mask[2 * b] | uint32_t{mask[2 * b + 1]} << 8;
    const int64_t left = rows - b * ROWS16;
    return left < ROWS16 ? bits & ((1u << left) - 1) : bits;
  }
};

// Candidates of one query, ordered by score descending, then row ascending, as one integer.
using Candidate = uint64_t;
inline Candidate candidate(int32_t score, int64_t row) {
  const uint32_t biased = static_cast<uint32_t>(score) ^ 0x80000000u;
  return uint64_t{biased} << 32 | (0xffffffffu - static_cast<uint32_t>(row));
}
inline int32_t score_of(Candidate c) { return static_cast<int32_t>((c >> 32) ^ 0x80000000u); }
inline int64_t row_of(Candidate c) { return 0xffffffffu - static_cast<uint32_t>(c); }

// Keeps at least the `wanted` best of what is pushed in ascending row order.
class Collector {
 public:
  Collector() = default;
  Collector(size_t wanted, int32_t floor)
      : floor_(floor), wanted_(wanted), room_(std::max<size_t>(4 * wanted, 1024)) {}

  int32_t floor() const { return floor_; }
  std::vector<Candidate>& kept() { return kept_; }

  void push(int64_t block, uint32_t bits, const int32_t* scores) {
    for (; bits; bits &= bits - 1) {
      const int v = __builtin_ctz(bits);
      if (scores[v] >= floor_) kept_.push_back(candidate(scores[v], block * ROWS16 + v));
    }
    if (kept_.size() >= room_) trim();
  }

  void trim() {
    if (kept_.size() <= wanted_) return;
    const auto last = kept_.begin() + static_cast<int64_t>(wanted_) - 1;
    std::nth_element(kept_.begin(), last, kept_.end(), std::greater<Candidate>());
    // Rows come in ascending order: a later row of the same score would lose.
    const int32_t score = score_of(*last);
    floor_ = score < std::numeric_limits<int32_t>::max() ? score + 1 : score;
    kept_.resize(wanted_);
  }

 private:
  int32_t floor_ = 0;
  size_t wanted_ = 0;
  size_t room_ = 0;
  std::vector<Candidate> kept_;
};

// wide: one query in two planes, score = 128 * <high, v> + <low, v>, for blocks [first, last) to
// out int32 [last - first, 16]. high and low are int8 [8 * groups].
using Wide = void (*)(const Blocks&, int64_t first, int64_t last, const int8_t* high,
                      const int8_t* low, int32_t* out);
// narrow: eight queries of one plane each, int8 [groups, 2, 8, 4]; scores that reach a query's
// floor go to its collector.
using Narrow = void (*)(const Blocks&, int64_t first, int64_t last, const int8_t* queries,
                        Collector* collectors);
// body: <high, v> and <low, v> of row-major nibbles: byte i has dimension i in its low nibble and
// dimension bytes + i in its high nibble; high and low are int8 [2 * bytes].
using Body = int32_t (*)(const uint8_t* row, int64_t bytes, const uint8_t* lut, const int8_t* high,
                         const int8_t* low);

// filter: bit v of masks[b] says that scores[16 b + v] reaches the floor.
using Filter = void (*)(const int32_t* scores, int64_t blocks, int32_t floor, uint16_t* masks);

// What excludes a row from the results of one query: the score that the sketch gives plus the
// Cauchy-Schwarz bound of what the sketch does not know.
struct Reach {
  float head_scale, head_floor, head_error, head_rest;
  float body_scale, body_floor, body_error, body_rest;
};

// bound: bit v of masks[b] says that head_scale * score + (head_error * errors[v] + head_rest *
// rests[v]) of row 16 b + v reaches head_floor, each operation rounded. errors and rests have 16
// bytes for every block.
using Bound = void (*)(const int32_t* scores, const uint8_t* errors, const uint8_t* rests,
                       int64_t blocks, const Reach& reach, uint16_t* masks);

struct SketchKernels {
  Wide wide;
  Filter filter;
  Bound bound;
  Narrow narrow;
  Body body;
};

const SketchKernels& sketch_kernels(int32_t level);

}  // namespace attar
