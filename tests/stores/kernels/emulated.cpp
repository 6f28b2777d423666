// Calls functions of a library for another process: requests on standard input, answers on standard
// output, as emulated.py writes and reads them. For Arm under Linux, where every argument that is
// no float takes a register or eight bytes of the stack, so that one signature fits all functions.
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

namespace {

constexpr int INTEGERS = 24, FLOATS = 2;
constexpr size_t PAGE = 65536;

void take(void* to, size_t bytes) {
  if (fread(to, 1, bytes, stdin) != bytes) exit(feof(stdin) ? 0 : 2);
}

template <class T>
T take() {
  T value;
  take(&value, sizeof value);
  return value;
}

// Memory that ends where reading faults.
struct Buffer {
  size_t bytes = take<uint64_t>();
  size_t room = (bytes + PAGE - 1) / PAGE * PAGE + PAGE;
  uint8_t* base = static_cast<uint8_t*>(
      mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  uint8_t* data = base + room - PAGE - bytes;

  Buffer() {
    if (base == MAP_FAILED || mprotect(base + room - PAGE, PAGE, PROT_NONE)) exit(3);
    take(data, bytes);
  }
};

template <size_t... I>
int64_t call(void* function, const uint64_t* x, const float* f, std::index_sequence<I...>) {
  using Function = int64_t (*)(decltype(I)..., float, float);
  return reinterpret_cast<Function>(function)(x[I]..., f[0], f[1]);
}

}  // namespace

int main(int, char** arguments) {
  void* library = dlopen(arguments[1], RTLD_NOW);
  if (!library) return fprintf(stderr, "%s\n", dlerror()), 4;
  for (;;) {
    char name[64] = {};
    take(name, sizeof name);
    std::vector<Buffer> buffers(take<uint64_t>());
    // Addresses inside of buffers: buffer, offset, and the buffer that is meant.
    for (auto left = take<uint64_t>(); left > 0; --left) {
      const auto in = take<uint64_t>(), offset = take<uint64_t>(), meant = take<uint64_t>();
      std::memcpy(buffers[in].data + offset, &buffers[meant].data, 8);
    }
    uint64_t integers[INTEGERS] = {};
    const auto count = take<uint64_t>();
    for (uint64_t i = 0; i < count; ++i) {
      const auto is_buffer = take<uint64_t>(), value = take<uint64_t>();
      integers[i] = is_buffer ? reinterpret_cast<uint64_t>(buffers[value].data) : value;
    }
    float floats[FLOATS];
    take(floats, sizeof floats);
    void* function = dlsym(library, name);
    if (!function || count > INTEGERS) return fprintf(stderr, "no %s\n", name), 5;
    const int64_t result = call(function, integers, floats, std::make_index_sequence<INTEGERS>());
    fwrite(&result, 8, 1, stdout);
    for (const Buffer& buffer : buffers) {
      fwrite(buffer.data, 1, buffer.bytes, stdout);
      munmap(buffer.base, buffer.room);
    }
    fflush(stdout);
  }
}
