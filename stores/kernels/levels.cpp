// Which instruction sets this CPU has, asked by CPUID bits and never by model name.
#include "native.h"

// Grows by one with every change of a signature or a struct; library.py has the same number.
ATTAR_API int32_t attar_abi() { return 9; }

ATTAR_API int32_t attar_level() {
#ifdef ATTAR_X86
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vnni");
  if (avx2 && avx512) return attar::AVX512;
  if (avx2) return attar::AVX2;
#endif
  return attar::PORTABLE;
}
