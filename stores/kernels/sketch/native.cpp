// Sketch scan, selection by the body, and the rows that a bound cannot exclude; the semantics are
// those of reference.py.
#include "blocks.h"

namespace attar {

namespace {

constexpr int64_t CHUNK = 64;        // blocks that are scored between two looks at the floor
constexpr int64_t SAMPLED = 512;     // blocks that seed the floor
constexpr int64_t AHEAD = 32;        // rows that are on their way from memory
constexpr int64_t PIECE = 128 << 10;  // bytes that stay in the second-level cache
constexpr int64_t FEW = 2;           // queries that are not worth a tile

// The place in a sample whose score more than `wanted` of all rows reach, by three sigma, where
// the sample has `share` of them.
size_t seed_rank(double wanted, double share) {
  const double expected = wanted * share;
  return static_cast<size_t>(expected + 3 * __builtin_sqrt(expected) + 4);
}

// What the low plane adds to a score at most: values lie in 0 ... 63.
int32_t most_of(const int8_t* low, int64_t dims) {
  int32_t sum = 0;
  for (int64_t j = 0; j < dims; ++j) sum += 63 * std::max<int32_t>(low[j], 0);
  return sum;
}

// The range [first, last) of blocks for one query in two planes. The high plane and the most that
// the low one can add exclude nearly all blocks; the others are scored in full.
void scan_wide(const Blocks& b, int64_t first, int64_t last, const int8_t* high, const int8_t* low,
               int32_t level, const Slot& slot) {
  const SketchKernels& kernel = sketch_kernels(level);
  const int64_t more = most_of(low, 8 * b.groups);
  int32_t out[CHUNK * ROWS16];
  uint16_t masks[CHUNK];
  for (int64_t start = first; start < last; start += CHUNK) {
    const int64_t end = std::min(last, start + CHUNK);
    uint32_t any = b.mask == nullptr;
    for (int64_t i = start; i < end && !any; ++i) any = b.perhaps(i);
    if (any == 0) continue;
    const int32_t floor = slot.floor();
    const bool fine = floor == LOWEST;
    if (fine) {
      kernel.wide(b, start, end, high, low, out);
    } else {
      kernel.coarse(b, start, end, high, out);
    }
    const int64_t least = std::max<int64_t>(fine ? floor : floor - more, LOWEST);
    kernel.filter(out, end - start, static_cast<int32_t>(least), masks);
    for (int64_t i = start; i < end; ++i) {
      if (masks[i - start] == 0) continue;
      const uint32_t bits = masks[i - start] & b.valid(i);
      if (bits == 0) continue;
      int32_t* mine = out + (i - start) * ROWS16;
      if (!fine) kernel.wide(b, i, i + 1, high, low, mine);
      slot.push(i, bits, mine);
    }
  }
}

// Blocks [first, last) of one cell.
struct Piece {
  int64_t first, last;
  int64_t cell;
};

void cut(const Blocks& b, int64_t cell, int64_t most, std::vector<Piece>& pieces) {
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
Chosen first_cells(const Task& t) {
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
Chosen other_cells(const Task& t, const Chosen& before, const std::vector<int32_t>& floors) {
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

// What a thread needs to score a piece.
struct Room {
  std::vector<int8_t> queries;
  std::vector<Slot> slots;
  Collector idle{1, HIGHEST, PORTABLE};
};

// One query in two planes after the other.
void scan_wide_visits(const Task& t, const Visits& v, const Piece& piece, Collector* collectors) {
  for (int64_t i = v.at[piece.cell]; i < v.at[piece.cell + 1]; ++i) {
    const Visits::Visit& visit = v.visits[i];
    if (collectors[visit.query].floor() == HIGHEST) continue;
    const Slot slot{collectors + visit.query, visit.offset};
    const int8_t* high = t.queries + 2 * visit.query * t.dims();
    scan_wide(t.blocks, piece.first, piece.last, high, high + t.dims(), t.level, slot);
  }
}

// Eight queries at a time.
void scan_narrow_visits(const Task& t, const Visits& v, const Piece& piece, Collector* collectors,
                        Room& room) {
  room.queries.resize(static_cast<size_t>(TOGETHER * t.dims()));
  const int64_t end = v.at[piece.cell + 1];
  for (int64_t i = v.at[piece.cell]; i < end;) {
    Slot slots[TOGETHER];
    int count = 0;
    for (; i < end && count < TOGETHER; ++i) {
      const Visits::Visit& visit = v.visits[i];
      if (collectors[visit.query].floor() == HIGHEST) continue;
      const int8_t* query = t.queries + visit.query * t.dims();
      for (int64_t part = 0; part < 2 * t.blocks.groups; ++part) {
        std::memcpy(&room.queries[(part * TOGETHER + count) * 4], query + part * 4, 4);
      }
      slots[count++] = {collectors + visit.query, visit.offset};
    }
    for (int q = count; q < TOGETHER; ++q) slots[q] = {&room.idle, 0};
    if (count) {
      sketch_kernels(t.level).narrow(t.blocks, piece.first, piece.last, room.queries.data(), slots,
                                     count);
    }
  }
}

// All queries at once.
void scan_tiled_visits(const Task& t, const Visits& v, const Piece& piece, Collector* collectors,
                       Room& room) {
  const int64_t width = padded_dims(t.blocks), all = v.at[piece.cell + 1] - v.at[piece.cell];
  room.queries.assign(static_cast<size_t>(all * width), 0);
  room.slots.clear();
  for (int64_t i = v.at[piece.cell]; i < v.at[piece.cell + 1]; ++i) {
    const Visits::Visit& visit = v.visits[i];
    if (collectors[visit.query].floor() == HIGHEST) continue;
    const int8_t* query = t.queries + visit.query * t.dims();
    std::copy(query, query + t.dims(), &room.queries[room.slots.size() * width]);
    room.slots.push_back({collectors + visit.query, visit.offset});
  }
  if (room.slots.empty()) return;
  sketch_kernels(t.level).tiled(t.blocks, piece.first, piece.last, room.queries.data(),
                                room.slots.data(), static_cast<int64_t>(room.slots.size()));
}

// Scores one piece for the queries that visit its cell.
void scan_piece(const Task& t, const Visits& v, const Piece& piece, Collector* collectors,
                Room& room) {
  const int64_t visits = v.at[piece.cell + 1] - v.at[piece.cell];
  if (t.wide) return scan_wide_visits(t, v, piece, collectors);
  if (sketch_kernels(t.level).tiled && visits > FEW) {
    return scan_tiled_visits(t, v, piece, collectors, room);
  }
  scan_narrow_visits(t, v, piece, collectors, room);
}

using Parts = std::vector<std::vector<Collector>>;  // of every thread, for every query

void scan_visits(const Task& t, const Visits& visits, int32_t threads, Parts& kept) {
  const std::vector<Piece> pieces = visits.pieces(t.blocks);
  parallel(static_cast<int64_t>(pieces.size()), threads, [&](int64_t p, int64_t a, int64_t z) {
    Room room;
    for (int64_t i = a; i < z; ++i) scan_piece(t, visits, pieces[i], kept[p].data(), room);
  });
}

// What threads have found so far raises the floor of all of them; returns the score at the place
// `results` of query q, which no order of work changes.
int32_t agreed(const Task& t, int64_t q, Parts& kept) {
  int32_t floor = LOWEST;
  std::vector<int32_t> scores;
  for (auto& part : kept) {
    part[q].trim();
    floor = std::max(floor, part[q].floor());
    for (Candidate c : part[q].kept()) scores.push_back(score_of(c));
  }
  for (auto& part : kept) part[q].raise(floor);
  if (static_cast<int64_t>(scores.size()) < t.results) return LOWEST;
  const auto place = scores.begin() + std::max<int64_t>(t.results, 1) - 1;
  std::nth_element(scores.begin(), place, scores.end(), std::greater<int32_t>());
  return *place;
}

// Candidates of every query; a query whose floor is HIGHEST takes no part and keeps what it has.
void collect(const Task& t, int64_t wanted, const std::vector<int32_t>& floors, int32_t threads,
             std::vector<std::vector<Candidate>>& found) {
  Parts kept(std::max(threads, 1));
  for (auto& part : kept) {
    for (int64_t q = 0; q < t.m; ++q) part.emplace_back(wanted, floors[q], t.level);
  }
  const Chosen first = first_cells(t);
  scan_visits(t, Visits(t, first), threads, kept);
  if (t.first < t.blocks.cells) {
    std::vector<int32_t> least(t.m, LOWEST);
    for (int64_t q = 0; q < t.m; ++q) least[q] = agreed(t, q, kept);
    scan_visits(t, Visits(t, other_cells(t, first, least)), threads, kept);
  }
  for (int64_t q = 0; q < t.m; ++q) {
    if (floors[q] == HIGHEST) continue;
    found[q].clear();
    for (auto& part : kept) {
      found[q].insert(found[q].end(), part[q].kept().begin(), part[q].kept().end());
    }
  }
}

// Floors from a sample of evenly spaced blocks, where every query visits one large cell; the same
// whatever the threads.
std::vector<int32_t> seed(const Task& t, int64_t wanted) {
  std::vector<int32_t> floors(t.m, LOWEST);
  const int64_t count = t.blocks.count;
  if (t.blocks.cells > 1 || count < 4 * SAMPLED) return floors;
  const double share = static_cast<double>(SAMPLED) / static_cast<double>(count);
  const size_t rank = seed_rank(static_cast<double>(wanted), share);
  if (rank > SAMPLED * ROWS16 / 4) return floors;
  const Visits visits(t, first_cells(t));
  std::vector<Collector> best(t.m, Collector(rank, LOWEST, t.level));
  Room room;
  for (int64_t s = 0; s < SAMPLED / 2; ++s) {
    const int64_t first = count / 2 * s / (SAMPLED / 2) * 2;
    scan_piece(t, visits, {first, std::min(first + 2, count), 0}, best.data(), room);
  }
  for (int64_t q = 0; q < t.m; ++q) {
    best[q].trim();
    // Fewer than the rank: the filter left too little of the sample to go by.
    const std::vector<Candidate>& kept = best[q].kept();
    if (kept.size() == rank) floors[q] = score_of(*std::min_element(kept.begin(), kept.end()));
  }
  return floors;
}

int64_t count_valid(const Blocks& b) {
  if (b.mask == nullptr) return b.rows;
  int64_t count = 0;
  for (int64_t i = 0; i < b.count; ++i) count += __builtin_popcount(b.valid(i));
  return count;
}

}  // namespace

}  // namespace attar

// The `wanted` best positions of each query by integer score, ties by position, in no particular
// order: positions int64 and scores int32 [m wanted], counts int64 [m]. offsets int32 [m cells];
// hopes int32 [m cells] or null. Of the cells the `first` most promising are looked into, then those
// that promise at least the score at place `results` so far.
ATTAR_API void attar_sketch_top(const attar::Blocks* blocks, const int8_t* queries, int64_t m,
                                int32_t wide, const int32_t* offsets, const int32_t* hopes,
                                int64_t first, int64_t results, int64_t wanted, int32_t threads,
                                int32_t level,
                                int64_t* out_rows, int32_t* out_scores, int64_t* counts) {
  using namespace attar;
  const Task task{*blocks, queries, m, wide != 0, offsets, hopes, first, results, level};
  std::vector<std::vector<Candidate>> found(m);
  const std::vector<int32_t> floors = seed(task, wanted);
  collect(task, wanted, floors, threads, found);
  // Where the sample was not like the rest: once more, without it.
  if (std::any_of(floors.begin(), floors.end(), [](int32_t f) { return f != LOWEST; })) {
    const auto enough = static_cast<size_t>(std::min(wanted, count_valid(*blocks)));
    std::vector<int32_t> again(m, HIGHEST);
    bool any = false;
    for (int64_t q = 0; q < m; ++q) {
      if (found[q].size() >= enough) continue;
      again[q] = LOWEST;
      any = true;
    }
    if (any) collect(task, wanted, again, threads, found);
  }
  for (int64_t q = 0; q < m; ++q) {
    std::vector<Candidate>& kept = found[q];
    if (kept.size() > static_cast<size_t>(wanted)) {
      best_first(kept, wanted, level);
      kept.resize(static_cast<size_t>(wanted));
    }
    counts[q] = static_cast<int64_t>(kept.size());
    for (size_t i = 0; i < kept.size(); ++i) {
      out_rows[q * wanted + i] = row_of(kept[i]);
      out_scores[q * wanted + i] = score_of(kept[i]);
    }
  }
}

// Of the candidates of each query (rows, head scores, counts as above) the `kept` best by
// head_scale * head + body_scale * body in float32, ties by row: rows int64 [m kept], -1 behind.
ATTAR_API void attar_sketch_select(const uint8_t* body, int64_t bytes, const uint8_t* lut,
                                   const int64_t* rows, const int32_t* heads,
                                   const int64_t* counts, int64_t m, int64_t wanted,
                                   const int8_t* queries, const float* head_scale,
                                   const float* body_scale, int64_t kept, int32_t threads,
                                   int32_t level, int64_t* out_rows) {
  using namespace attar;
  const Body score = sketch_kernels(level).body;
  parallel(m, threads, [&](int64_t, int64_t first, int64_t last) {
    std::vector<Hit> hits;
    for (int64_t q = first; q < last; ++q) {
      const int8_t* high = queries + 4 * q * bytes;
      const int64_t* mine = rows + q * wanted;
      hits.resize(static_cast<size_t>(counts[q]));
      for (int64_t i = 0; i < std::min(AHEAD, counts[q]); ++i) fetch(body + mine[i] * bytes, bytes);
      for (int64_t i = 0; i < counts[q]; ++i) {
        if (i + AHEAD < counts[q]) fetch(body + mine[i + AHEAD] * bytes, bytes);
        const float head = head_scale[q] * static_cast<float>(heads[q * wanted + i]);
        const int32_t sum = bytes ? score(body + mine[i] * bytes, bytes, lut, high, high + 2 * bytes) : 0;
        hits[i] = {head + body_scale[q] * static_cast<float>(sum), mine[i]};
      }
      const int64_t n = std::min<int64_t>(kept, counts[q]);
      if (n < counts[q]) std::nth_element(hits.begin(), hits.begin() + n, hits.end(), better);
      for (int64_t i = 0; i < kept; ++i) out_rows[q * kept + i] = i < n ? hits[i].row : -1;
    }
  });
}

// Positions that no bound excludes, for one query, in the given cells; head_floor and body_floor
// float32 [count] are the floors of these. errors uint8 [4, 16 blocks]: head error, head rest, body
// error, body rest, in steps that `reach` has multiplied in. Returns their number; `survivors`
// counts those that the head alone did not exclude.
ATTAR_API int64_t attar_sketch_reach(const attar::Blocks* given, const uint8_t* body, int64_t bytes,
                                     const uint8_t* errors, const int8_t* head_query,
                                     const int8_t* body_query, const attar::Reach* reach,
                                     const int32_t* cells, const float* head_floor,
                                     const float* body_floor, int64_t count, int32_t threads,
                                     int32_t level, int64_t* out, int64_t* survivors) {
  using namespace attar;
  const Blocks& blocks = *given;
  const SketchKernels& kernel = sketch_kernels(level);
  const int64_t padded = blocks.count * ROWS16;
  std::vector<Piece> pieces;
  for (int64_t i = 0; i < count; ++i) {
    const size_t before = pieces.size();
    cut(blocks, cells[i], CHUNK, pieces);
    for (size_t p = before; p < pieces.size(); ++p) pieces[p].cell = i;
  }
  const int64_t parts = std::max<int32_t>(1, threads);
  std::vector<std::vector<int64_t>> kept(parts);
  std::vector<int64_t> passed(parts, 0);
  const auto work = [&](int64_t p, int64_t from, int64_t to) {
    int32_t scores[CHUNK * ROWS16];
    uint16_t masks[CHUNK];
    std::vector<std::pair<int64_t, float>> some;
    for (int64_t at = from; at < to; ++at) {
      const int64_t start = pieces[at].first, end = pieces[at].last;
      Reach r = *reach;
      r.head_floor = head_floor[pieces[at].cell];
      r.body_floor = body_floor[pieces[at].cell];
      kernel.wide(blocks, start, end, head_query, head_query + 8 * blocks.groups, scores);
      kernel.bound(scores, errors + start * ROWS16, errors + padded + start * ROWS16, end - start,
                   r, masks);
      some.clear();
      for (int64_t b = start; b < end; ++b) {
        if (masks[b - start] == 0) continue;
        const int32_t* s = scores + (b - start) * ROWS16;
        for (uint32_t bits = masks[b - start] & blocks.valid(b); bits; bits &= bits - 1) {
          const int v = __builtin_ctz(bits);
          some.emplace_back(b * ROWS16 + v, r.head_scale * static_cast<float>(s[v]));
          fetch(body + (b * ROWS16 + v) * bytes, bytes);
        }
      }
      passed[p] += static_cast<int64_t>(some.size());
      for (const auto& [row, head] : some) {
        const int32_t sum =
            bytes ? kernel.body(body + row * bytes, bytes, blocks.lut, body_query, body_query + 2 * bytes)
                  : 0;
        const float bound = head + r.body_scale * static_cast<float>(sum) +
                            (r.body_error * static_cast<float>(errors[2 * padded + row]) +
                             r.body_rest * static_cast<float>(errors[3 * padded + row]));
        if (bound >= r.body_floor) kept[p].push_back(row);
      }
    }
  };
  parallel(static_cast<int64_t>(pieces.size()), static_cast<int32_t>(parts), work);
  int64_t total = 0;
  *survivors = 0;
  for (int64_t p = 0; p < parts; ++p) {
    std::copy(kept[p].begin(), kept[p].end(), out + total);
    total += static_cast<int64_t>(kept[p].size());
    *survivors += passed[p];
  }
  return total;
}

// Coordinates a float32 [n, axes] to 4-bit codes, written at row `first` of head and body. Nibble c
// codes what the nibbles before it have left of coordinate axis[c], in units of spread[c]; its code
// is the number of thresholds float32 [15] below. The head uses the first `head_axes` coordinates.
// Squared errors float32 [n]: what the head leaves of those, what all nibbles leave of all axes.
ATTAR_API void attar_sketch_encode(const float* a, int64_t n, int64_t axes, int64_t head_axes,
                                   int64_t groups, int64_t bytes, const int32_t* axis,
                                   const float* spread, const float* thresholds,
                                   const float* values, int64_t first, uint8_t* head,
                                   uint8_t* body, float* head_error, float* body_error,
                                   int32_t threads) {
  using namespace attar;
  const int64_t dims = 8 * groups + 2 * bytes;
  // Threads share no block: split at multiples of sixteen of the absolute row.
  const int64_t from = first / ROWS16, to = (first + n + ROWS16 - 1) / ROWS16;
  parallel(to - from, threads, [&](int64_t, int64_t begin, int64_t stop) {
    std::vector<uint8_t> codes(static_cast<size_t>(dims));
    std::vector<float> left(static_cast<size_t>(axes));
    const auto error = [&](int64_t count) {
      float sum = 0;
      for (int64_t j = 0; j < count; ++j) sum += left[j] * left[j];
      return sum;
    };
    const int64_t start = std::max(first, (from + begin) * ROWS16);
    const int64_t end = std::min(first + n, (from + stop) * ROWS16);
    for (int64_t row = start; row < end; ++row) {
      std::copy(a + (row - first) * axes, a + (row - first + 1) * axes, left.begin());
      for (int64_t c = 0; c < dims; ++c) {
        if (c == 8 * groups) head_error[row - first] = error(head_axes);
        const float x = left[axis[c]] / spread[c];
        int code = x > thresholds[7] ? 8 : 0;
        code += x > thresholds[code + 3] ? 4 : 0;
        code += x > thresholds[code + 1] ? 2 : 0;
        code += x > thresholds[code] ? 1 : 0;
        codes[c] = static_cast<uint8_t>(code);
        left[axis[c]] -= values[code] * spread[c];
      }
      if (bytes == 0) head_error[row - first] = error(head_axes);
      body_error[row - first] = error(axes);
      uint8_t* block = head + row / ROWS16 * groups * 64 + row % ROWS16 * 4;
      for (int64_t g = 0; g < groups; ++g) {
        for (int i = 0; i < 4; ++i) {
          block[g * 64 + i] = codes[8 * g + i] | codes[8 * g + 4 + i] << 4;
        }
      }
      const uint8_t* tail = codes.data() + 8 * groups;
      for (int64_t i = 0; i < bytes; ++i) body[row * bytes + i] = tail[i] | tail[bytes + i] << 4;
    }
  });
}
