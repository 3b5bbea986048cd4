// The norms of parts of a flat array, and the parts scaled down to a limit. SPANS are the parameters `start_0`,
// `size_0`, ..., and CHOOSE sets `start` and `size` by blockIdx.y; a part has PARTIAL blocks.
//
// partial  parts, PARTIAL: sums of squares

constexpr int THREADS = 256, PARTIAL = 64;

// The sum over the threads of a block, for all of them, in an order that is always the same.
INLINE real block_sum(real x, real* memory) {
    memory[threadIdx.x] = x;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) memory[threadIdx.x] += memory[threadIdx.x + half];
    }
    __syncthreads();
    return memory[0];
}

extern "C" __global__ void __launch_bounds__(THREADS) squares(SPANS, const real* flat, real* partial) {
    __shared__ real memory[THREADS];
    Index start = 0, size = 0;
    CHOOSE
    real sum = 0;
    for (Index i = (Index)blockIdx.x * THREADS + threadIdx.x; i < size; i += PARTIAL * THREADS)
        sum += flat[start + i] * flat[start + i];
    sum = block_sum(sum, memory);
    if (threadIdx.x == 0) partial[blockIdx.y * PARTIAL + blockIdx.x] = sum;
}

// `parts` is 0 for a norm of each part, or the number of parts that have one together: if that is not finite,
// everything becomes NaN.
extern "C" __global__ void __launch_bounds__(THREADS) scale(SPANS, real* flat, const real* partial, double limit,
                                                            Index parts) {
    __shared__ real memory[THREADS];
    Index start = 0, size = 0;
    CHOOSE
    const real* mine = parts ? partial : partial + blockIdx.y * PARTIAL;
    real sum = 0;
    for (Index i = threadIdx.x; i < (parts ? parts : 1) * PARTIAL; i += THREADS) sum += mine[i];
    const real norm = sqrt(block_sum(sum, memory));
    real factor = real(limit) / ops_maximum(norm, real(limit));
    if (parts && norm - norm != 0) factor = norm - norm;
    for (Index i = (Index)blockIdx.x * THREADS + threadIdx.x; i < size; i += PARTIAL * THREADS)
        flat[start + i] *= factor;
}
