// Which cells the queries look into, and in which pieces these are scored.
#pragma once

#include "blocks.h"

namespace attar {

constexpr int64_t PIECE = 128 << 10;  // bytes that stay in the second-level cache

// Blocks [first, last) of one cell.
struct Piece {
  int64_t first, last;
  int64_t cell;
};

inline void cut(const Blocks& b, int64_t cell, int64_t most, std::vector<Piece>& pieces) {
  for (int64_t at = b.starts[cell]; at < b.starts[cell + 1]; at += most) {
    pieces.push_back({at, std::min(at + most, b.starts[cell + 1]), cell});
  }
}

// Queries and what every cell promises them; cells [cells] of query q begin at q * cells.
struct Task {
  const Blocks& blocks;
  const int8_t* queries;  // int8 [m, 2, 8 groups] when wide, else [m, 8 groups]
  int64_t m;
  bool wide;
  const int32_t* offsets;  // what scores in a cell lack
  const int32_t* hopes;    // what the best score in a cell may be, or null: look into all
  int64_t first;           // cells that are looked into whatever the others promise
  int64_t results;         // the place of the score that other cells have to promise
  int32_t level;

  int64_t dims() const { return 8 * blocks.groups; }
};

using Chosen = std::vector<std::vector<int32_t>>;  // cells of every query

// The `first` cells that promise most to each query, ties to the lower number.
inline Chosen first_cells(const Task& t) {
  const int64_t cells = t.blocks.cells, count = std::min(t.first, cells);
  const int32_t* promised = t.hopes ? t.hopes : t.offsets;
  Chosen chosen(t.m);
  std::vector<Candidate> order(cells);
  for (int64_t q = 0; q < t.m; ++q) {
    for (int64_t c = 0; c < cells; ++c) order[c] = candidate(promised[q * cells + c], c);
    if (count < cells) best_first(order, count, t.level);
    for (int64_t i = 0; i < count; ++i) chosen[q].push_back(static_cast<int32_t>(row_of(order[i])));
  }
  return chosen;
}

// The other cells that promise each query at least its floor.
inline Chosen other_cells(const Task& t, const Chosen& before, const std::vector<int32_t>& floors) {
  const int64_t cells = t.blocks.cells;
  Chosen chosen(t.m);
  std::vector<uint8_t> done(cells);
  for (int64_t q = 0; q < t.m; ++q) {
    std::fill(done.begin(), done.end(), uint8_t{0});
    for (int32_t c : before[q]) done[c] = 1;
    for (int64_t c = 0; c < cells; ++c) {
      const bool enough = t.hopes == nullptr || t.hopes[q * cells + c] >= floors[q];
      if (enough && !done[c]) chosen[q].push_back(static_cast<int32_t>(c));
    }
  }
  return chosen;
}

// What is looked into, by cell: the queries of cell c are visits[at[c]] ... [at[c + 1]].
struct Visits {
  struct Visit {
    int64_t query;
    int32_t offset;
  };
  std::vector<int64_t> at;
  std::vector<Visit> visits;

  Visits(const Task& t, const Chosen& chosen) : at(t.blocks.cells + 1, 0) {
    const int64_t cells = t.blocks.cells;
    for (const auto& mine : chosen) {
      for (int32_t c : mine) ++at[c + 1];
    }
    for (int64_t c = 0; c < cells; ++c) at[c + 1] += at[c];
    visits.resize(at.back());
    std::vector<int64_t> next(at.begin(), at.end() - 1);
    for (int64_t q = 0; q < t.m; ++q) {
      for (int32_t c : chosen[q]) visits[next[c]++] = {q, t.offsets[q * cells + c]};
    }
  }

  std::vector<Piece> pieces(const Blocks& b) const {
    std::vector<Piece> all;
    const int64_t most = std::max<int64_t>(4, PIECE / b.bytes() / 4 * 4);
    for (int64_t c = 0; c < b.cells; ++c) {
      if (at[c] < at[c + 1]) cut(b, c, most, all);
    }
    return all;
  }
};

}  // namespace attar
