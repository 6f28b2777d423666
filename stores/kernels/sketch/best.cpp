// The best of many candidates, which are integers: a larger one is better, none comes twice.
#include "blocks.h"

namespace attar {

namespace {

Candidate portable_best(Candidate* keys, int64_t n, int64_t wanted) {
  std::nth_element(keys, keys + wanted - 1, keys + n, std::greater<Candidate>());
  return keys[wanted - 1];
}

#ifdef ATTAR_X86

constexpr int64_t SMALL = 96;  // below, comparing one by one is as fast

// Moves keys above the pivot to the front and the others behind them; returns how many are above.
// What is compressed into a register is stored whole: the front never overtakes what was read, and
// `spare` has a register's room behind n.
ATTAR_AVX512 int64_t avx512_part(Candidate* keys, int64_t n, Candidate pivot, Candidate* spare) {
  const __m512i least = _mm512_set1_epi64(static_cast<int64_t>(pivot));
  int64_t above = 0, others = 0, i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m512i x = _mm512_loadu_si512(keys + i);
    const __mmask8 mask = _mm512_cmpgt_epu64_mask(x, least);
    _mm512_storeu_si512(keys + above, _mm512_maskz_compress_epi64(mask, x));
    _mm512_storeu_si512(spare + others,
                        _mm512_maskz_compress_epi64(static_cast<__mmask8>(~mask), x));
    const int count = __builtin_popcount(mask);
    above += count, others += 8 - count;
  }
  for (; i < n; ++i) {
    if (keys[i] > pivot) {
      keys[above++] = keys[i];
    } else {
      spare[others++] = keys[i];
    }
  }
  std::memcpy(keys + above, spare, static_cast<size_t>(others) * sizeof(Candidate));
  return above;
}

// The middle one of nine keys: four are above it, so that either part is smaller than the whole.
Candidate pivot_of(const Candidate* keys, int64_t n) {
  Candidate some[9];
  for (int k = 0; k < 9; ++k) some[k] = keys[n * k / 9];
  std::nth_element(some, some + 4, some + 9);
  return some[4];
}

ATTAR_AVX512 Candidate avx512_best(Candidate* keys, int64_t n, int64_t wanted) {
  static thread_local std::vector<Candidate> spare;
  spare.resize(static_cast<size_t>(n) + 8);
  Candidate* from = keys;
  while (n > SMALL) {
    const int64_t above = avx512_part(from, n, pivot_of(from, n), spare.data());
    if (above >= wanted) {
      n = above;
    } else {
      from += above, n -= above, wanted -= above;
    }
  }
  return portable_best(from, n, wanted);
}

#endif

}  // namespace

Candidate best_first(std::vector<Candidate>& keys, int64_t wanted, int32_t level) {
  const auto n = static_cast<int64_t>(keys.size());
#ifdef ATTAR_X86
  if (level == AVX512 || level == AMX) return avx512_best(keys.data(), n, wanted);
#endif
  (void)level;
  return portable_best(keys.data(), n, wanted);
}

}  // namespace attar
