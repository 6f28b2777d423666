// Scores in integer arithmetic, near enough to tell which rows are worth an exact one.
//
// A row is bytes x (int8 or uint8 codes as they are; of waterfill the levels in units of a 127th of
// the largest one of their width), a query int16 q with a scale; the sum is an exact int32, so that
// all levels agree:  near = const + factor * (scale * float32(sum)) - sqnorm.
#include "calls.h"

namespace attar {

namespace {

constexpr int64_t PLACES = 4096;  // into which rows are sorted before they are read

template <bool SIGNED>
inline int32_t value(uint8_t x) {
  return SIGNED ? static_cast<int8_t>(x) : x;
}

template <bool SIGNED>
int32_t portable_dot(const uint8_t* x, const int16_t* q, int64_t n) {
  int32_t sum = 0;
  for (int64_t j = 0; j < n; ++j) sum += value<SIGNED>(x[j]) * q[j];
  return sum;
}

#ifdef ATTAR_X86

template <bool SIGNED>
ATTAR_AVX2 int32_t avx2_dot(const uint8_t* x, const int16_t* q, int64_t n) {
  __m256i sums = _mm256_setzero_si256();
  int64_t j = 0;
  for (; j + 16 <= n; j += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + j));
    const __m256i wide = SIGNED ? _mm256_cvtepi8_epi16(bytes) : _mm256_cvtepu8_epi16(bytes);
    const __m256i query = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q + j));
    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(wide, query));
  }
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  const int32_t sum = _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
  return sum + portable_dot<SIGNED>(x + j, q + j, n - j);
}

template <bool SIGNED>
ATTAR_AVX512 inline __m512i wide32(const uint8_t* x) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  return SIGNED ? _mm512_cvtepi8_epi16(bytes) : _mm512_cvtepu8_epi16(bytes);
}

template <bool SIGNED>
ATTAR_AVX512 int32_t avx512_dot(const uint8_t* x, const int16_t* q, int64_t n) {
  __m512i even = _mm512_setzero_si512(), odd = even;
  int64_t j = 0;
  for (; j + 64 <= n; j += 64) {
    even = _mm512_dpwssd_epi32(even, wide32<SIGNED>(x + j), _mm512_loadu_si512(q + j));
    odd = _mm512_dpwssd_epi32(odd, wide32<SIGNED>(x + j + 32), _mm512_loadu_si512(q + j + 32));
  }
  const int32_t sum = _mm512_reduce_add_epi32(_mm512_add_epi32(even, odd));
  return sum + portable_dot<SIGNED>(x + j, q + j, n - j);
}

#endif

template <bool SIGNED>
Dot dot_of(int32_t level) {
#ifdef ATTAR_X86
  if (level >= AVX512) return avx512_dot<SIGNED>;
  if (level == AVX2) return avx2_dot<SIGNED>;
#endif
#ifdef ATTAR_ARM
  if (level == NEON) return SIGNED ? neon_signed_dot : neon_unsigned_dot;
#endif
  (void)level;
  return portable_dot<SIGNED>;
}

// Bytes of one row.
class Bytes {
 public:
  Bytes(const Source& source, const uint8_t* table, int32_t level)
      : source_(source), table_(table), level_(level) {
    const auto room = static_cast<size_t>((source.width + 63) / 64 * 64);
    if (source.kind == WATERFILL) row_.resize(room), places_.resize(room);
  }

  const uint8_t* operator()(int64_t row) {
    if (source_.kind != WATERFILL) return source_.code + row * source_.stride;
#ifdef ATTAR_X86
    static const bool vbmi = __builtin_cpu_supports("avx512vbmi");
    if (level_ >= AVX512 && vbmi) {
      waterfill_bytes_vbmi(source_, row, table_, row_.data());
      return row_.data();
    }
#endif
#ifdef ATTAR_ARM
    if (level_ == NEON) {
      waterfill_bytes_neon(source_, row, table_, row_.data());
      return row_.data();
    }
#endif
    waterfill_places(source_, row, places_.data());
    for (int j = 0; j < source_.width; ++j) row_[j] = table_[places_[j]];
    return row_.data();
  }

 private:
  const Source& source_;
  const uint8_t* table_;
  int32_t level_;
  std::vector<uint8_t> row_;
  std::vector<int32_t> places_;
};

// Near scores of single rows for one query after the other.
class Near {
 public:
  Near(const Source& source, const uint8_t* table, const int16_t* queries, const float* scale,
       const float* constant, int32_t level)
      : source_(source),
        bytes_(source, table, level),
        dot_(source.kind == UINT8 ? dot_of<false>(level) : dot_of<true>(level)),
        queries_(queries),
        scale_(scale),
        constant_(constant) {}

  float operator()(int64_t q, int64_t row) {
    const int32_t sum = dot_(bytes_(row), queries_ + q * source_.width, source_.width);
    const float product = scale_[q] * static_cast<float>(sum);
    const float factor = source_.scale ? half_to_float(source_.scale[row]) : 1.0f;
    const float factored = factor * product;
    const float score = constant_[q] + factored;
    return source_.sqnorm ? score - source_.sqnorm[row] : score;
  }

 private:
  const Source& source_;
  Bytes bytes_;
  Dot dot_;
  const int16_t* queries_;
  const float* scale_;
  const float* constant_;
};

// Rows that lie near each other one after the other: sorted by their leading bits, in one pass.
std::vector<int64_t> gathered(const int64_t* rows, int64_t count, int64_t all) {
  int shift = 0;
  while (all >> shift >= PLACES) ++shift;
  std::vector<int64_t> at(PLACES + 1, 0), order(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) ++at[(rows[i] >> shift) + 1];
  for (int64_t p = 0; p < PLACES; ++p) at[p + 1] += at[p];
  for (int64_t i = 0; i < count; ++i) order[at[rows[i] >> shift]++] = rows[i];
  return order;
}

}  // namespace

Dot signed_dot(int32_t level) { return dot_of<true>(level); }

}  // namespace attar

// Of rows int64 [m c] (negative: none) the `kept` nearest of each query, ties by row, ascending with
// -1 behind: out int64 [m kept]. queries int16 [m width], table int8 of waterfill's levels or null.
ATTAR_API void attar_exact_near(const attar::Source* source, const uint8_t* table,
                                const int16_t* queries, const float* scale, const float* constant,
                                int64_t m, const int64_t* rows, int64_t c, int64_t kept,
                                int32_t threads, int32_t level, int64_t* out) {
  using namespace attar;
  const Source& s = *source;
  parallel(m, threads, [&](int64_t, int64_t first, int64_t last) {
    Near near(s, table, queries, scale, constant, level);
    std::vector<Hit> hits;
    for (int64_t q = first; q < last; ++q) {
      const int64_t* mine = rows + q * c;
      hits.clear();
      for (int64_t i = 0; i < std::min(AHEAD, c); ++i) fetch(s, mine[i]);
      for (int64_t i = 0; i < c; ++i) {
        if (i + AHEAD < c) fetch(s, mine[i + AHEAD]);
        if (mine[i] >= 0) hits.push_back({near(q, mine[i]), mine[i]});
      }
      const auto n = std::min<int64_t>(kept, static_cast<int64_t>(hits.size()));
      if (n < static_cast<int64_t>(hits.size())) {
        std::nth_element(hits.begin(), hits.begin() + n, hits.end(), better);
      }
      int64_t* best = out + q * kept;
      for (int64_t i = 0; i < kept; ++i) best[i] = i < n ? hits[i].row : -1;
      std::sort(best, best + n);
    }
  });
}

// Of rows int64 [count] those whose near score for the one query reaches the floor, ascending: out
// int64 [count]; returns how many.
ATTAR_API int64_t attar_exact_reach(const attar::Source* source, const uint8_t* table,
                                    const int16_t* query, const float* scale,
                                    const float* constant, const int64_t* rows, int64_t count,
                                    float floor, int32_t threads, int32_t level, int64_t* out) {
  using namespace attar;
  const Source& s = *source;
  const std::vector<int64_t> order = gathered(rows, count, s.rows);
  std::vector<std::vector<int64_t>> kept(std::max<int32_t>(1, threads));
  parallel(count, threads, [&](int64_t part, int64_t first, int64_t last) {
    Near near(s, table, query, scale, constant, level);
    for (int64_t i = first; i < std::min(last, first + AHEAD); ++i) fetch(s, order[i]);
    for (int64_t i = first; i < last; ++i) {
      if (i + AHEAD < last) fetch(s, order[i + AHEAD]);
      if (near(0, order[i]) >= floor) kept[part].push_back(order[i]);
    }
  });
  int64_t total = 0;
  for (const std::vector<int64_t>& part : kept) {
    std::copy(part.begin(), part.end(), out + total);
    total += static_cast<int64_t>(part.size());
  }
  std::sort(out, out + total);
  return total;
}
