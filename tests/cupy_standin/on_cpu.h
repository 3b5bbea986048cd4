// What CUDA C needs to be compiled for a CPU and run there: see on_cpu.py.
//
// The blocks of a grid run one after the other. The threads of a block are fibers that run until the next
// __syncthreads(), in another random order between any two: what is missing a barrier reads what is not there
// yet, or what is there no more, sooner or later. Shared memory begins as NaN in every block.

#include <math.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ static __attribute__((section("cuda_shared")))
#define __syncthreads() standin::wait_for_block(__LINE__)

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

// The bounds of all static shared memory, which the linker knows.
extern "C" unsigned char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern "C" unsigned char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));

namespace {

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;
constexpr int warpSize = 32;

template <class T>
constexpr T min(T a, T b) {
    return b < a ? b : a;
}
template <class T>
constexpr T max(T a, T b) {
    return a < b ? b : a;
}
template <class T>
inline T __ldg(const T* p) {
    return *p;
}
inline float rsqrt(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float rsqrtf(float x) { return rsqrt(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)(a)*b >> 64);
}
template <class To, class From>
inline To standin_bits(From x) {
    static_assert(sizeof(To) == sizeof(From), "two types of one size");
    To found;
    memcpy(&found, &x, sizeof found);
    return found;
}
inline int __float_as_int(float x) { return standin_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return standin_bits<unsigned>(x); }
inline float __int_as_float(int x) { return standin_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return standin_bits<float>(x); }
inline long long __double_as_longlong(double x) { return standin_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return standin_bits<double>(x); }

namespace standin {

struct Launch {
    unsigned grid[3], block[3];
    void** args;
    unsigned char* shared;  // of one block
    size_t shared_bytes;
    char* stacks;  // for all threads of a block
    size_t stack_bytes;
    uint64_t seed;
    char* error;
    size_t error_bytes;
};

struct Fiber {
    jmp_buf at;
    uint3 index;
    bool finished;
    int barrier;  // the line at which it waits; 0: it has not begun
    ucontext_t begin;
};

enum { SWITCHED = 1, FAILED = 2 };

Launch* launch;
Fiber fibers[1024];
Fiber* current;
jmp_buf scheduler;
void (*body)(void**);
unsigned char* shared_memory;

void describe(const char* what, int line) {
    snprintf(launch->error, launch->error_bytes,
             "%s, at line %d of the source; block (%u, %u, %u), thread (%u, %u, %u)", what, line, blockIdx.x,
             blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
}

[[noreturn]] void fail(const char* what, int line) {
    describe(what, line);
    _longjmp(scheduler, FAILED);
}

[[maybe_unused]] __attribute__((noinline)) void wait_for_block(int line) {
    current->barrier = line;
    if (!_setjmp(current->at)) _longjmp(scheduler, SWITCHED);
}

void run_fiber() {
    body(launch->args);
    current->finished = true;
    _longjmp(scheduler, SWITCHED);
}

// Run a fiber to its next barrier or its end; return whether that went well.
__attribute__((noinline)) bool resume(Fiber* fiber) {
    current = fiber;
    threadIdx = fiber->index;
    const int how = _setjmp(scheduler);
    if (how) return how == SWITCHED;
    if (fiber->barrier) _longjmp(fiber->at, 1);
    setcontext(&fiber->begin);
    return false;
}

uint64_t draw() {
    uint64_t& x = launch->seed;
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    return x;
}

// Run all threads to their next barrier, in random order; return whether that went well.
bool run_phase(int count, int* order) {
    for (int i = count - 1; i > 0; --i) std::swap(order[i], order[draw() % (i + 1)]);
    for (int i = 0; i < count; ++i)
        if (!resume(&fibers[order[i]])) return false;
    for (int i = 1; i < count; ++i) {
        const Fiber &a = fibers[0], &b = fibers[i];
        if (a.finished == b.finished && (a.finished || a.barrier == b.barrier)) continue;
        threadIdx = b.index;
        describe("not all threads of a block reach the same __syncthreads()", max(a.barrier, b.barrier));
        return false;
    }
    return true;
}

bool run_block(int count, int* order) {
    memset(launch->shared, 0xFF, launch->shared_bytes);
    if (__start_cuda_shared)
        memset(__start_cuda_shared, 0xFF, size_t(__stop_cuda_shared - __start_cuda_shared));
    for (int i = 0; i < count; ++i) {
        Fiber& fiber = fibers[i];
        const unsigned rows = unsigned(i) / blockDim.x;
        fiber.index = uint3{unsigned(i) % blockDim.x, rows % blockDim.y, rows / blockDim.y};
        fiber.finished = false;
        fiber.barrier = 0;
        getcontext(&fiber.begin);
        fiber.begin.uc_stack.ss_sp = launch->stacks + size_t(i) * launch->stack_bytes;
        fiber.begin.uc_stack.ss_size = launch->stack_bytes;
        fiber.begin.uc_link = nullptr;
        makecontext(&fiber.begin, run_fiber, 0);
        order[i] = i;
    }
    while (!fibers[0].finished)
        if (!run_phase(count, order)) return false;
    return true;
}

[[maybe_unused]] int run_grid(Launch* given, void (*kernel)(void**)) {
    static int order[1024];
    launch = given;
    body = kernel;
    shared_memory = given->shared;
    gridDim.x = given->grid[0], gridDim.y = given->grid[1], gridDim.z = given->grid[2];
    blockDim.x = given->block[0], blockDim.y = given->block[1], blockDim.z = given->block[2];
    const int count = int(blockDim.x * blockDim.y * blockDim.z);
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x)
                if (!run_block(count, order)) return 1;
    return 0;
}

// A kernel's call with arguments by address, and its signature: "f4" a float, "*f4" a pointer to floats,
// "*cf4" to constant ones, "?" anything that is no number.
template <class T>
char* write_code(char* at) {
    using U = std::remove_cv_t<T>;
    if constexpr (std::is_pointer_v<U>) {
        using To = std::remove_pointer_t<U>;
        *at++ = '*';
        if (std::is_const_v<To>) *at++ = 'c';
        return write_code<To>(at);
    } else if constexpr (std::is_arithmetic_v<U>) {
        const bool is_bool = std::is_same_v<U, bool>;
        *at++ = std::is_floating_point_v<U> ? 'f' : is_bool ? 'b' : std::is_unsigned_v<U> ? 'u' : 'i';
        *at++ = char('0' + sizeof(U));
    } else {
        *at++ = '?';
    }
    return at;
}

template <auto kernel>
struct Kernel;

template <class... Args, void (*kernel)(Args...)>
struct Kernel<kernel> {
    template <size_t... I>
    static void call(void** args, std::index_sequence<I...>) {
        kernel(*static_cast<std::remove_cv_t<Args>*>(args[I])...);
        (void)args;  // of a kernel without parameters
    }
    static void call(void** args) { call(args, std::index_sequence_for<Args...>()); }
    static const char* signature() {
        static char codes[5 * sizeof...(Args) + 1];
        char* at = codes;
        ((at = write_code<Args>(at), *at++ = ','), ...);
        *at = 0;
        return codes;
    }
};

// What the compiler's checks (-fsanitize=...) begin with.
struct Check {
    const char* file;
    uint32_t line, column;
};

}  // namespace standin
}  // namespace

extern "C" {
#define STANDIN_ONE(name, what) \
    __attribute__((visibility("hidden"), used)) void __ubsan_handle_##name(standin::Check* check, void*) { \
        standin::fail(what, int(check->line)); \
    }
#define STANDIN_TWO(name, what) \
    __attribute__((visibility("hidden"), used)) void __ubsan_handle_##name(standin::Check* check, void*, \
                                                                           void*) { \
        standin::fail(what, int(check->line)); \
    }
STANDIN_ONE(out_of_bounds, "an index outside of its array")
STANDIN_ONE(type_mismatch_v1, "a null pointer or an address that is not aligned")
STANDIN_ONE(negate_overflow, "a negation that overflows")
STANDIN_TWO(add_overflow, "an addition of integers that overflows")
STANDIN_TWO(sub_overflow, "a subtraction of integers that overflows")
STANDIN_TWO(mul_overflow, "a product of integers that overflows")
STANDIN_TWO(divrem_overflow, "an integer divided by zero")
STANDIN_TWO(shift_out_of_bounds, "a shift by more bits than there are")
}
#undef STANDIN_ONE
#undef STANDIN_TWO
