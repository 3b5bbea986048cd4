// Work on rows of numbers. A row has `lanes` threads, a power of two; a block has several rows where they are
// short.

constexpr int THREADS = 256;
#define INFINITE (-log(real(0)))

struct Row {
    real* memory;  // a number for each thread of the block
    Index row, rows;
    int lane, lanes;

    INLINE Row(real* memory, Index rows, Index lanes)
        : memory(memory), row((Index)blockIdx.x * (THREADS / lanes) + threadIdx.x / lanes), rows(rows),
          lane(threadIdx.x % lanes), lanes((int)lanes) {}
    INLINE bool inside() const { return row < rows; }
    INLINE bool leads() const { return lane == 0 && inside(); }

    // What `combine` makes of all lanes' numbers, in an order that is always the same; for every lane.
    template <class Combine>
    INLINE real across(real x, Combine combine) const {
        memory[threadIdx.x] = x;
        for (int half = lanes / 2; half > 0; half /= 2) {
            __syncthreads();
            if (lane < half) memory[threadIdx.x] = combine(memory[threadIdx.x], memory[threadIdx.x + half]);
        }
        __syncthreads();
        const real found = memory[threadIdx.x - lane];
        __syncthreads();  // before it is written again
        return found;
    }
    INLINE real sum(real x) const {
        return across(x, [](real a, real b) { return a + b; });
    }
    INLINE real largest(real x) const {
        return across(x, [](real a, real b) { return ops_maximum(a, b); });
    }
};
