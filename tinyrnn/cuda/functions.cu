// The elementwise functions of tinyrnn.ops, for numbers of the type `real`. Comparisons give 0 or 1.

typedef long long Index;  // of an element: arrays may have more than 2^31

#define INLINE __device__ __forceinline__

// Sixteen bytes of numbers, read and written at once.
constexpr int LANES = 16 / sizeof(real);
struct alignas(16) Pack { real lane[LANES]; };

INLINE real ops_exp(real x) { return exp(x); }
INLINE real ops_expm1(real x) { return expm1(x); }
INLINE real ops_log(real x) { return log(x); }
INLINE real ops_log1p(real x) { return log1p(x); }
INLINE real ops_sqrt(real x) { return sqrt(x); }
INLINE real ops_abs(real x) { return x < 0 ? -x : x; }
INLINE real ops_sign(real x) { return x > 0 ? real(1) : x < 0 ? real(-1) : x; }
INLINE real ops_sin(real x) { return sin(x); }
INLINE real ops_cos(real x) { return cos(x); }
INLINE real ops_erf(real x) { return erf(x); }
INLINE real ops_tanh(real x) { return tanh(x); }
INLINE real ops_relu(real x) { return x < 0 ? real(0) : x; }
INLINE real ops_power(real x, real exponent) { return pow(x, exponent); }
INLINE real ops_where(real condition, real a, real b) { return condition != 0 ? a : b; }

// What is not a number stays so, as in NumPy.
INLINE real ops_maximum(real a, real b) { return a > b || a != a ? a : b; }
INLINE real ops_minimum(real a, real b) { return a < b || a != a ? a : b; }
INLINE real ops_clip(real x, real low, real high) { return x < low ? low : x > high ? high : x; }

// Exact in relative terms at both ends: the exponential never overflows.
INLINE real ops_sigmoid(real x) {
    const real z = exp(-ops_abs(x));
    return (x >= 0 ? real(1) : z) / (1 + z);
}

INLINE real ops_softplus(real x) { return ops_maximum(x, real(0)) + log1p(exp(-ops_abs(x))); }
