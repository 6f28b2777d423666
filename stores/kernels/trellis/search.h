// What a trellis search reads, writes and remembers.
#pragma once

#include "../native.h"

namespace attar {

namespace {

constexpr int COST_BINS = 128;
constexpr float COST_PER_UNIT = 16;
constexpr float COST_REACH = COST_BINS / COST_PER_UNIT;
constexpr int ROWS = 16;
constexpr int MOST_STATES = 128;

// Tables of width w begin at (w - 1) times their size; width, weight [dim]; u and the outputs per
// dimension are [n dim], those per row [n].
struct Search {
  int64_t dim;
  int32_t states, bins, gains;
  const uint8_t* subset;     // [2 states]
  const int32_t* width;
  const float* weight;
  const uint16_t* index;     // [4 bins] a width
  const float* level;        // [4 bins] a width
  const float* reach;
  const float* per_unit;
  const float* cost;         // [COST_BINS] a width
  const float* outermost;
  const float* gain;         // [gains]
  const float* inverse;      // [gains]
  const float* u;
  uint8_t* cells;
  uint8_t* trellis;
  uint8_t* chosen;
  double* along;
  double* power;
};

struct Scratch {
  std::vector<uint16_t> came;    // [dim states] and one, a bit a row
  std::vector<uint16_t> bin;     // [dim ROWS]
  std::vector<float> x;          // [dim ROWS]
  std::vector<uint8_t> cells;    // [dim ROWS], and up to sixteen dimensions that nobody asked for
  std::vector<uint8_t> trellis;  // the same
  explicit Scratch(const Search& s)
      : came(s.dim * s.states + 1),
        bin(s.dim * ROWS),
        x(s.dim * ROWS),
        cells((s.dim + ROWS) * ROWS),
        trellis((s.dim + ROWS) * ROWS) {}
};

}  // namespace

}  // namespace attar
