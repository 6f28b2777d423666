// Integer scores of sketch blocks. Layout (see reference.py): block b holds rows 16 b … 16 b + 15;
// byte [b, g, 4 v + i] has the code of row 16 b + v, dimension 8 g + i in its low nibble and
// dimension 8 g + 4 + i in its high nibble. A code stands for the value lut[code] in 0 … 63.
#pragma once

#include "../native.h"

namespace attar {

constexpr int ROWS16 = 16;
constexpr int TOGETHER = 8;  // queries that narrow() scores at once

constexpr uint32_t NOWHERE = 0xffffffffu;

// Blocks of a sketch, grouped into cells: cell c is blocks starts[c] … starts[c + 1] - 1. Position p,
// lane p % 16 of block p / 16, holds row order[p], or none (NOWHERE); without an order, row p.
// The struct is shared with native.py.
struct Blocks {
  const uint8_t* data;
  int64_t count;
  int64_t rows;
  int64_t groups;
  const uint8_t* lut;
  const uint32_t* order;
  const uint8_t* mask;  // bits of allowed rows, padded to a multiple of 16 rows, or null
  const int64_t* starts;
  int64_t cells;

  int64_t bytes() const { return groups * 64; }
  const uint8_t* block(int64_t b) const { return data + b * bytes(); }

  // Of some bits those v whose position 16 b + v holds a row that is allowed.
  uint32_t valid(int64_t b, uint32_t bits) const {
    if (order == nullptr) return bits & perhaps(b);
    for (uint32_t left = bits; left; left &= left - 1) {
      const int v = __builtin_ctz(left);
      const uint32_t row = order[b * ROWS16 + v];
      if (row == NOWHERE || !allowed(mask, row)) bits &= ~(1u << v);
    }
    return bits;
  }

  // At least the bits that are valid, at no cost.
  uint32_t perhaps(int64_t b) const {
    if (order) return 0xffff;
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

constexpr int32_t LOWEST = std::numeric_limits<int32_t>::min();
constexpr int32_t HIGHEST = std::numeric_limits<int32_t>::max();

// Puts the `wanted` best of the keys first and returns the worst of these; wanted lies in 1 ... size.
Candidate best_first(std::vector<Candidate>& keys, int64_t wanted, int32_t level);

// Keeps at least the `wanted` best of what is pushed.
class Collector {
 public:
  Collector() = default;
  Collector(size_t wanted, int32_t floor, int32_t level)
      : floor_(floor), level_(level), wanted_(wanted), room_(std::max<size_t>(4 * wanted, 1024)) {}

  int32_t floor() const { return floor_; }
  // The floor for scores to which `offset` is still to be added.
  int32_t floor(int32_t offset) const {
    if (floor_ == LOWEST || floor_ == HIGHEST) return floor_;
    const int64_t below = int64_t{floor_} - offset;
    return static_cast<int32_t>(std::min<int64_t>(std::max<int64_t>(below, LOWEST), HIGHEST));
  }
  std::vector<Candidate>& kept() { return kept_; }

  void push(int64_t block, uint32_t bits, const int32_t* scores, int32_t offset) {
    for (; bits; bits &= bits - 1) {
      const int v = __builtin_ctz(bits);
      const int32_t score = scores[v] + offset;
      if (score >= floor_) kept_.push_back(candidate(score, block * ROWS16 + v));
    }
    if (kept_.size() >= room_) trim();
  }

  void trim() {
    if (kept_.size() < wanted_ || kept_.empty()) return;
    raise(score_of(best_first(kept_, static_cast<int64_t>(wanted_), level_)));
    kept_.resize(wanted_);
  }

  // Others have as many candidates that reach `floor`.
  void raise(int32_t floor) { floor_ = std::max(floor_, floor); }

 private:
  int32_t floor_ = 0;
  int32_t level_ = 0;
  size_t wanted_ = 0;
  size_t room_ = 0;
  std::vector<Candidate> kept_;
};

// A query at a cell: where its candidates go, and what its scores there lack.
struct Slot {
  Collector* collector;
  int32_t offset;

  int32_t floor() const { return collector->floor(offset); }
  void push(int64_t block, uint32_t bits, const int32_t* scores) const {
    collector->push(block, bits, scores, offset);
  }
};

// wide: one query in two planes, score = 128 * <high, v> + <low, v>, for blocks [first, last) to
// out int32 [last - first, 16]. high and low are int8 [8 * groups].
using Wide = void (*)(const Blocks&, int64_t first, int64_t last, const int8_t* high,
                      const int8_t* low, int32_t* out);
// coarse: 128 * <high, v> alone, which is what most rows need to be told from candidates.
using Coarse = void (*)(const Blocks&, int64_t first, int64_t last, const int8_t* high,
                        int32_t* out);
// narrow: `count` (1 to 8) queries of one plane each, int8 [groups, 2, 8, 4]; scores that reach a
// slot's floor go there. The eight slots behind `count` are legal and take nothing.
using Narrow = void (*)(const Blocks&, int64_t first, int64_t last, const int8_t* queries,
                        const Slot* slots, int count);
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

// tiled: any number of queries of one plane each, int8 [count, padded_dims(blocks)], zeros behind the
// last coordinate; scores that reach a slot's floor go there. Null on levels without tiles.
using Tiled = void (*)(const Blocks&, int64_t first, int64_t last, const int8_t* queries,
                       const Slot* slots, int64_t count);

struct SketchKernels {
  Wide wide;
  Coarse coarse;
  Filter filter;
  Bound bound;
  Narrow narrow;
  Body body;
  Tiled tiled;
};

// Tiles hold up to 64 coordinates; those of a head are shared out evenly.
inline int64_t tile_steps(const Blocks& b) { return (b.groups + 7) / 8; }
inline int64_t tile_groups(const Blocks& b) {
  return (b.groups + tile_steps(b) - 1) / tile_steps(b);
}
inline int64_t padded_dims(const Blocks& b) { return 8 * tile_steps(b) * tile_groups(b); }

#ifdef ATTAR_TILES
void amx_tiled(const Blocks& blocks, int64_t first, int64_t last, const int8_t* queries,
               const Slot* slots, int64_t count);
#endif

#ifdef ATTAR_ARM
const SketchKernels& neon_sketch_kernels();
#endif

const SketchKernels& sketch_kernels(int32_t level);

}  // namespace attar
