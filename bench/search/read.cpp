// Sequential read: the sum of n bytes, eight independent streams of one cache line.
#include <cstdint>
extern "C" uint64_t read_all(const uint64_t* p, int64_t words) {
  uint64_t sum[8] = {};
  for (int64_t i = 0; i + 8 <= words; i += 8) {
    for (int k = 0; k < 8; ++k) sum[k] += p[i + k];
  }
  return sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
}
