// Selection by the body, the rows that a bound cannot exclude, and encoding; the semantics are those
// of reference.py.
#include "visits.h"

namespace {

constexpr int64_t CHUNK = 64;  // blocks whose bounds are looked at together
constexpr int64_t AHEAD = 32;  // rows that are on their way from memory

}  // namespace

// Of the candidates of each query (rows, head scores, and counts of attar_sketch_top) the `kept` best by
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
        for (uint32_t bits = blocks.valid(b, masks[b - start]); bits; bits &= bits - 1) {
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
