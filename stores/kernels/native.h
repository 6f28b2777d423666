// What every kernel shares: the instruction set levels and a top-k heap with the order of hits.
//
// No file is compiled for a particular CPU. Functions name their instruction set themselves
// (ATTAR_AVX2, ATTAR_AVX512, ATTAR_AMX, ATTAR_DOTPROD) and are called only when the CPU reports it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#if defined(__GNUC__) && defined(__x86_64__)
#define ATTAR_X86 1
#include <immintrin.h>
#define ATTAR_AVX2 __attribute__((target("avx2,f16c")))
#define ATTAR_AVX512 \
  __attribute__((target("avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
// Byte permutations over 128 entries; asked for apart, since the first CPUs with VNNI lack them.
#define ATTAR_VBMI \
  __attribute__((target("avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")))
#if defined(__linux__)  // the kernel's permission is asked for by a Linux call
#define ATTAR_TILES 1
#define ATTAR_AMX \
  __attribute__((      \
      target("avx2,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,amx-tile,amx-int8")))
#endif
#endif

// Every 64-bit Arm has NEON. The level asks for the dot product of bytes too, which all but the first
// of them have, so that it is one; half precision and permutations are of the base.
#if defined(__GNUC__) && defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ATTAR_ARM 1
#include <arm_neon.h>
#if defined(__clang__)
#define ATTAR_DOTPROD __attribute__((target("dotprod")))
#else  // gcc's intrinsics are inlined only where the architecture is theirs, too
#define ATTAR_DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))
#endif
#endif

#if defined(_WIN32)
#define ATTAR_API extern "C" __declspec(dllexport)
#else
#define ATTAR_API extern "C" __attribute__((visibility("default")))
#endif

namespace attar {

// Within one architecture a higher number is a better level.
enum Level : int32_t { PORTABLE = 0, AVX2 = 1, AVX512 = 2, AMX = 3, NEON = 4, LEVELS = 5 };

struct Hit {
  float score;
  int64_t row;
};

// The order of hits within a segment: score descending, then row ascending.
inline bool better(const Hit& a, const Hit& b) {
  return a.score > b.score || (a.score == b.score && a.row < b.row);
}

// The k best hits; `dropped` is the best score that was seen and not kept.
class TopK {
 public:
  explicit TopK(int64_t k) : k_(static_cast<size_t>(k)) {}

  float floor() const { return floor_; }
  float dropped() const { return dropped_; }
  const std::vector<Hit>& heap() const { return heap_; }

  // Callers may skip scores below `floor()`; those can be neither kept nor tie with what is.
  void offer(const Hit& hit) {
    if (heap_.size() < k_) {
      heap_.push_back(hit);
      std::push_heap(heap_.begin(), heap_.end(), better);
    } else if (better(hit, heap_.front())) {
      drop(heap_.front().score);
      std::pop_heap(heap_.begin(), heap_.end(), better);
      heap_.back() = hit;
      std::push_heap(heap_.begin(), heap_.end(), better);
    } else {
      drop(hit.score);
    }
    if (heap_.size() == k_) floor_ = heap_.front().score;
  }

  void merge(const TopK& other) {
    drop(other.dropped_);
    for (const Hit& hit : other.heap_) offer(hit);
  }

  std::vector<Hit> sorted() const {
    std::vector<Hit> hits = heap_;
    std::sort(hits.begin(), hits.end(), better);
    return hits;
  }

 private:
  void drop(float score) { dropped_ = std::max(dropped_, score); }

  size_t k_;
  std::vector<Hit> heap_;
  float floor_ = -std::numeric_limits<float>::infinity();
  float dropped_ = -std::numeric_limits<float>::infinity();
};

// Starts to bring all cache lines of some bytes from memory to a level of the caches (FIRST_LEVEL, or
// SECOND_LEVEL, which waits for more lines at once); they may begin anywhere in the first line.
// A function that does nothing but prefetch has no effect in the eyes of gcc, which drops the calls
// of those that it has not inlined by then: all such functions have to be ATTAR_INLINE.
#if defined(__GNUC__)
#define ATTAR_INLINE inline __attribute__((always_inline))
#else
#define ATTAR_INLINE inline
#endif
constexpr int FIRST_LEVEL = 3, SECOND_LEVEL = 2;
template <int LEVEL = FIRST_LEVEL>
ATTAR_INLINE void fetch(const void* from, int64_t bytes) {
#if defined(__GNUC__)
  const auto* at = static_cast<const uint8_t*>(from);
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(at + i, 0, LEVEL);
  if (bytes > 0) __builtin_prefetch(at + bytes - 1, 0, LEVEL);
#else
  (void)from, (void)bytes;
#endif
}

inline bool allowed(const uint8_t* mask, int64_t row) {
  return mask == nullptr || (mask[row >> 3] >> (row & 7) & 1) != 0;
}

// Runs body(part, first, last) for `threads` nearly equal parts of [0, n), the last one here.
template <class Body>
void parallel(int64_t n, int32_t threads, const Body& body) {
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(threads, n));
  std::vector<std::thread> workers;
  for (int64_t p = 0; p + 1 < parts; ++p) {
    workers.emplace_back([&, p] { body(p, n * p / parts, n * (p + 1) / parts); });
  }
  body(parts - 1, n * (parts - 1) / parts, n);
  for (std::thread& worker : workers) worker.join();
}

}  // namespace attar
