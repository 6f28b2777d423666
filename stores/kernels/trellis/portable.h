// The parts of a trellis search in plain C++.
#pragma once

#include <cmath>

#include "search.h"

namespace attar {

namespace {

// The parts of a search on any CPU; the others replace what they do faster, bit for bit.
struct Portable {
  // The gain of each row that is expected to leave the least error; x becomes x / gain.
  static ATTAR_INLINE void choose_gains(const Search& s, float* __restrict x,
                                          int32_t* __restrict best) {
    float least[ROWS] = {};
    for (int k = 0; k < s.gains; ++k) {
      const float inverse = s.inverse[k];
      float sum[ROWS] = {};
      for (int64_t j = 0; j < s.dim; ++j) {
        const int w = s.width[j] - 1;
        const float* cost = s.cost + w * COST_BINS;
        const float weight = s.weight[j], outermost = s.outermost[w];
        for (int r = 0; r < ROWS; ++r) {
          const float size = std::abs(x[j * ROWS + r]) * inverse;
          const float inside = size < COST_REACH ? size : COST_REACH;
          const int32_t at = static_cast<int32_t>(inside * COST_PER_UNIT);
          const float near = cost[at < COST_BINS - 1 ? at : COST_BINS - 1];
          const float over = size - outermost;
          sum[r] += (size < COST_REACH ? near : over * over) * weight;
        }
      }
      const float square = s.gain[k] * s.gain[k];
      for (int r = 0; r < ROWS; ++r) {
        const float error = sum[r] * square;
        const bool better = k == 0 || error < least[r];
        least[r] = better ? error : least[r];
        best[r] = better ? k : best[r];
      }
    }
    float inverse[ROWS];
    for (int r = 0; r < ROWS; ++r) inverse[r] = s.inverse[best[r]];
    for (int64_t j = 0; j < s.dim; ++j) {
      for (int r = 0; r < ROWS; ++r) x[j * ROWS + r] *= inverse[r];
    }
  }

  // Bins of dimension j and the distances to the nearest level of each subset, [4 ROWS].
  static ATTAR_INLINE void distances(const Search& s, int64_t j, const float* __restrict x,
                                       uint16_t* __restrict bin, float* __restrict dist) {
    const int w = s.width[j] - 1;
    const float reach = s.reach[w], per_unit = s.per_unit[w], weight = s.weight[j];
    int32_t place[ROWS];
    for (int r = 0; r < ROWS; ++r) {
      float v = x[r] < -reach ? -reach : x[r];
      v = v > reach ? reach : v;
      const int32_t at = static_cast<int32_t>((v + reach) * per_unit);
      place[r] = at < s.bins - 1 ? at : s.bins - 1;
      bin[r] = static_cast<uint16_t>(place[r]);
    }
    for (int c = 0; c < 4; ++c) {
      const float* level = s.level + (static_cast<int64_t>(w) * 4 + c) * s.bins;
      for (int r = 0; r < ROWS; ++r) {
        const float error = x[r] - level[place[r]];
        dist[c * ROWS + r] = error * error * weight;
      }
    }
  }

  // next = min(low, high); the bits of the rows where high is less.
  static ATTAR_INLINE uint16_t lesser(const float* low, const float* low_dist, const float* high,
                                      const float* high_dist, float* __restrict next) {
    uint32_t bits = 0;
    for (int r = 0; r < ROWS; ++r) {
      const float a = low[r] + low_dist[r], b = high[r] + high_dist[r];
      bits |= static_cast<uint32_t>(b < a) << r;
      next[r] = b < a ? b : a;
    }
    return static_cast<uint16_t>(bits);
  }

  // Cells, trellis bits and the two sums of the factor, along the cheapest path.
  static ATTAR_INLINE void trace(const Search& s, Scratch& scratch, const float* cost,
                                   int64_t first, int rows) {
    int32_t now[ROWS];
    double along[ROWS] = {}, power[ROWS] = {};
    for (int r = 0; r < ROWS; ++r) {
      now[r] = 0;
      for (int state = 1; state < s.states; ++state) {
        if (cost[state * ROWS + r] < cost[now[r] * ROWS + r]) now[r] = state;
      }
    }
    for (int64_t j = 0; j < s.dim; ++j) {
      const uint16_t* came = scratch.came.data() + j * s.states;
      const int64_t table = static_cast<int64_t>(s.width[j] - 1) * 4 * s.bins;
      const float weight = s.weight[j];
      for (int r = 0; r < rows; ++r) {
        const int32_t window = now[r] | (came[now[r]] >> r & 1) * s.states;
        const int64_t at = (first + r) * s.dim + j;
        const int64_t place = table + s.subset[window] * s.bins + scratch.bin[j * ROWS + r];
        const float y = s.level[place];
        s.trellis[at] = static_cast<uint8_t>(now[r] & 1);
        s.cells[at] = static_cast<uint8_t>(s.index[place] >> 2);
        along[r] += static_cast<double>(scratch.x[j * ROWS + r] * y * weight);
        power[r] += static_cast<double>(y * y * weight);
        now[r] = window >> 1;
      }
    }
    for (int r = 0; r < rows; ++r) s.along[first + r] = along[r], s.power[first + r] = power[r];
  }
};

}  // namespace

}  // namespace attar
