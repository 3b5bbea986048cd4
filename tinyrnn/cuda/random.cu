// Random numbers by Philox 4x32-10 (Salmon et al., 2011): ten rounds make four words of a counter and a key.
// The key is the seed and the counter the number of a group of elements, so a number depends on nothing but
// the seed and its place.

struct Words { unsigned w[4]; };

INLINE Words philox(unsigned long long counter, unsigned long long seed) {
    unsigned c0 = (unsigned)counter, c1 = (unsigned)(counter >> 32), c2 = 0, c3 = 0;
    unsigned k0 = (unsigned)seed, k1 = (unsigned)(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const unsigned long long a = 0xD2511F53ull * c0, b = 0xCD9E8D57ull * c2;
        const unsigned n0 = (unsigned)(b >> 32) ^ c1 ^ k0, n2 = (unsigned)(a >> 32) ^ c3 ^ k1;
        c1 = (unsigned)b, c3 = (unsigned)a, c0 = n0, c2 = n2;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// How many numbers four words give: a float takes one of them, a double two.
constexpr int NUMBERS = 16 / sizeof(real);

// A number of 0 ... 1, without 1, of 24 or 53 random bits.
INLINE real fraction(const Words& words, int i) {
    if (sizeof(real) == 4) return real(words.w[i] >> 8) * real(1.0 / 16777216);
    const unsigned long long wide = (unsigned long long)words.w[2 * i] << 32 | words.w[2 * i + 1];
    return real(wide >> 11) * real(1.0 / 9007199254740992);
}

#define GROUP ((Index)blockIdx.x * blockDim.x + threadIdx.x)

extern "C" __global__ void uniform(real* out, Index n, long long seed) {
    const Words words = philox(GROUP, seed);
    for (int i = 0; i < NUMBERS; ++i)
        if (GROUP * NUMBERS + i < n) out[GROUP * NUMBERS + i] = fraction(words, i);
}

// 0 where a word is below `limit`, `factor` elsewhere: in both float types at the same places.
extern "C" __global__ void keep_factors(real* out, Index n, long long seed, long long limit, double factor) {
    const Words words = philox(GROUP, seed);
    for (int i = 0; i < 4; ++i)
        if (GROUP * 4 + i < n) out[GROUP * 4 + i] = words.w[i] < limit ? real(0) : real(factor);
}

// Pairs of normal numbers (Box & Muller, 1958): a radius, and an angle that gives it two ends.
extern "C" __global__ void normal(real* out, Index n, long long seed, double stddev) {
    const Words words = philox(GROUP, seed);
    constexpr real SMALLEST = sizeof(real) == 4 ? 1.0 / 16777216 : 1.0 / 9007199254740992;
    for (int i = 0; i < NUMBERS; i += 2) {
        const real above_zero = fraction(words, i) + SMALLEST;
        const real radius = real(stddev) * sqrt(real(-2) * log(above_zero));
        const real angle = real(6.283185307179586) * fraction(words, i + 1);
        const Index at = GROUP * NUMBERS + i;
        if (at < n) out[at] = radius * cos(angle);
        if (at + 1 < n) out[at + 1] = radius * sin(angle);
    }
}
