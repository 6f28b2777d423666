// Which instruction sets this CPU has, asked by feature bits and never by model name.
#include "native.h"

#ifdef ATTAR_TILES
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if defined(ATTAR_ARM) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(ATTAR_ARM) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace {

#ifdef ATTAR_ARM

bool dot_product() {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#elif defined(__APPLE__)
  int32_t has = 0;
  size_t bytes = sizeof has;
  return sysctlbyname("hw.optional.arm.FEAT_DotProd", &has, &bytes, nullptr, 0) == 0 && has != 0;
#else
  return false;
#endif
}

#endif

#ifdef ATTAR_TILES

// AMX needs the CPU (leaf 7: tiles, int8), and the kernel, which saves tiles only for a process that
// asked: ARCH_REQ_XCOMP_PERM of the tile data. Threads and children inherit what it says.
bool tiles() {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  constexpr unsigned TILE = 1u << 24, INT8 = 1u << 25;
  constexpr long REQUEST = 0x1023, TILE_DATA = 18;
  return (d & TILE) && (d & INT8) && syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}

#endif

}  // namespace

// Grows by one with every change of a signature or a struct; library.py has the same number.
ATTAR_API int32_t attar_abi() { return 13; }

// Bit l says that level l runs here. Asked once by every process, since asking gets permission.
ATTAR_API int32_t attar_levels() {
  int32_t levels = 1 << attar::PORTABLE;
#ifdef ATTAR_X86
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("f16c")) return levels;
  levels |= 1 << attar::AVX2;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq") ||
      !__builtin_cpu_supports("avx512vnni")) {
    return levels;
  }
  levels |= 1 << attar::AVX512;
#endif
#ifdef ATTAR_ARM
  if (dot_product()) levels |= 1 << attar::NEON;
#endif
#ifdef ATTAR_TILES
  if (tiles()) levels |= 1 << attar::AMX;
#endif
  return levels;
}
