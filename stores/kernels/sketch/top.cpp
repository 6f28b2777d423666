// The candidates of a scan over the heads of a sketch; the semantics are those of reference.py.
#include "visits.h"

namespace attar {

namespace {

constexpr int64_t CHUNK = 64;     // blocks that are scored between two looks at the floor
constexpr int64_t SAMPLED = 512;  // blocks that seed the floor
constexpr int64_t FEW = 2;        // queries that are not worth a tile

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
      const uint32_t bits = b.valid(i, masks[i - start]);
      if (bits == 0) continue;
      int32_t* mine = out + (i - start) * ROWS16;
      if (!fine) kernel.wide(b, i, i + 1, high, low, mine);
      slot.push(i, bits, mine);
    }
  }
}

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
  for (int64_t i = 0; i < b.count; ++i) count += __builtin_popcount(b.valid(i, 0xffff));
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
