// Queries to the coordinates of small codes; turn.py says what is computed.
#include <cmath>

#include "../exact/calls.h"

namespace attar {

namespace {

constexpr float LEAST = 1e-30f;

float largest(const float* x, int64_t n) {
  float most = 0;
  for (int64_t j = 0; j < n; ++j) most = std::max(most, std::fabs(x[j]));
  return most;
}

}  // namespace

}  // namespace attar

// rows int8 [g e], coords float32 [m e]; out int8 [m g].
ATTAR_API void attar_walk_turned(const int8_t* rows, const float* scale, const float* constant,
                                 int64_t g, int64_t e, int32_t widest, const float* coords,
                                 int64_t m, int32_t level, int8_t* out) {
  using namespace attar;
  const Dot dot = signed_dot(level);
  std::vector<int16_t> whole(static_cast<size_t>(e));
  std::vector<float> inside(static_cast<size_t>(g));
  for (int64_t q = 0; q < m; ++q) {
    const float* x = coords + q * e;
    const float unit = std::max(largest(x, e) / static_cast<float>(widest), LEAST);
    for (int64_t j = 0; j < e; ++j) whole[j] = static_cast<int16_t>(std::nearbyint(x[j] / unit));
    for (int64_t a = 0; a < g; ++a) {
      const auto* row = reinterpret_cast<const uint8_t*>(rows + a * e);
      const float product = (unit * scale[a]) * static_cast<float>(dot(row, whole.data(), e));
      inside[a] = product + constant[a];
    }
    const float size = std::max(largest(inside.data(), g) / 127.0f, LEAST);
    for (int64_t a = 0; a < g; ++a) {
      out[q * g + a] = static_cast<int8_t>(std::nearbyint(inside[a] / size));
    }
  }
}
