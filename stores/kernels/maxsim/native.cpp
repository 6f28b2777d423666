// The best canonical score of each query within each group of rows; semantics in reference.py.
#include "../exact/block.h"

// out float32 [m groups]; starts int64 [groups + 1]: rows starts[g] … starts[g + 1] - 1 are group g.
// mask: bitmap of the rows that count, or null. A group without such a row gets minus infinity.
ATTAR_API void attar_maxsim(const attar::Source* source, const float* coords,
                            const float* constant, int64_t m, int64_t width,
                            const int64_t* starts, int64_t groups, const uint8_t* mask,
                            int32_t threads, int32_t level, float* out) {
  using namespace attar;
  const Queries q{coords, constant, m, width};
  parallel(groups, threads, [&](int64_t, int64_t first, int64_t last) {
    Block block(*source, width, level);
    int64_t rows[ROWS];
    float scores[ROWS];
    for (int64_t g = first; g < last; ++g) {
      for (int64_t query = 0; query < m; ++query) {
        out[query * groups + g] = -std::numeric_limits<float>::infinity();
      }
      for (int64_t row = starts[g]; row < starts[g + 1];) {
        int count = 0;
        for (; row < starts[g + 1] && count < ROWS; ++row) {
          if (allowed(mask, row)) rows[count++] = row;
        }
        block.fill(rows, count);
        for (int64_t query = 0; query < m; ++query) {
          block.scores(q, query, scores);
          float& best = out[query * groups + g];
          for (int r = 0; r < count; ++r) best = std::max(best, scores[r]);
        }
      }
    }
  });
}
