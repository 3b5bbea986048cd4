// One launch for each time step, for recurrent kernels that do not fit into a block. A block computes a tile,
// TILE_ROWS rows of the batch by TILE_UNITS units with all their gates, so it has all that the cell's step
// needs: product and step are one launch. Its threads form teams that share the depth of the product; each
// thread of a team has 4 x 4 numbers of the tile.
//
// Before this text stands what emit_cuda.py prints, DROPS: whether there are `factors`, and
// MOST_THREADS: how many a block should have. For the layout of
// the arrays see persistent.cu; in addition
//
// kernel   units, gates, units     states, d_states   states, batch, units; in place, from step to step
// r        batch, gates, units: products of the early gates, for the late ones; null without
//
// The time steps are computed in order by launches after each other: a block sees what all others wrote in
// the launch before.

constexpr int TILE_ROWS = 32, TILE_UNITS = 8, DEPTH = 16;
constexpr int PITCH = TILE_ROWS + 4;  // keeps packs aligned, and fewer writes on one bank

template <int COUNT>  // of gates that are multiplied
struct Tile {
    static constexpr int COLUMNS = COUNT * TILE_UNITS;
    static constexpr int TEAM = TILE_ROWS / 4 * COLUMNS / 4;
    static constexpr int TEAMS = TEAM < MOST_THREADS ? MOST_THREADS / TEAM : 1;
    static constexpr int THREADS = TEAM * TEAMS;
};

// Which numbers a product is of: `a(copy, row, k)` and `b(gate, unit, k)`, 0 <= k < depth.
struct Forward {  // rows of a state, with COPIES for factors, and columns of the kernel
    static constexpr int COPIES_PER_GATE = DROPS;
    const real *h, *kernel, *factors;
    Index h_stride, batch;
    int units, first_gate;
    INLINE real a(int copy, Index row, int k) const {
        const real x = h[row * h_stride + k];
        return DROPS ? x * factors[((first_gate + copy) * batch + row) * units + k] : x;
    }
    INLINE real b(int gate, int unit, int k) const {
        return kernel[((Index)k * GATES + first_gate + gate) * units + unit];
    }
};

struct Backward {  // gradients of the gates, and rows of the kernel
    static constexpr int COPIES_PER_GATE = 1;
    const real *d_r, *kernel;
    Index d_r_stride;
    int units, first_gate;
    INLINE real a(int copy, Index row, int k) const {
        return d_r[row * d_r_stride + (Index)(first_gate + copy) * units + k];
    }
    INLINE real b(int gate, int unit, int k) const {
        return kernel[((Index)unit * GATES + first_gate + gate) * units + k];
    }
};

// Compute the products of a tile; they can be read by `product` afterwards.
template <int COUNT, class Source>
INLINE void multiply(const Source& source, real* memory, Index row0, int unit0, Index batch, int units) {
    using T = Tile<COUNT>;
    constexpr int COPIES = Source::COPIES_PER_GATE ? COUNT : 1;
    constexpr int A = COPIES * DEPTH * PITCH, B = DEPTH * T::COLUMNS;
    constexpr int A_EACH = (COPIES * DEPTH * TILE_ROWS + T::TEAM - 1) / T::TEAM;
    constexpr int B_EACH = (DEPTH * T::COLUMNS + T::TEAM - 1) / T::TEAM;
    const int team = threadIdx.x / T::TEAM, member = threadIdx.x % T::TEAM;
    const int row4 = member % (TILE_ROWS / 4) * 4, column4 = member / (TILE_ROWS / 4) * 4;
    const int copy = COPIES > 1 ? column4 / TILE_UNITS : 0;
    real* a = memory + team * (A + B);
    real* b = a + A;
    real a_ahead[A_EACH], b_ahead[B_EACH], sums[4][4] = {};

    auto load = [&](int k0) {
#pragma unroll
        for (int i = 0; i < A_EACH; ++i) {
            const int e = i * T::TEAM + member, k = k0 + e % DEPTH;
            const Index row = row0 + e / DEPTH % TILE_ROWS;
            const int c = e / (DEPTH * TILE_ROWS);
            a_ahead[i] = c < COPIES && row < batch && k < units ? source.a(c, row, k) : real(0);
        }
#pragma unroll
        for (int i = 0; i < B_EACH; ++i) {
            const int e = i * T::TEAM + member, c = e % T::COLUMNS, k = k0 + e / T::COLUMNS;
            const int unit = unit0 + c % TILE_UNITS;
            const bool inside = e < DEPTH * T::COLUMNS && unit < units && k < units;
            b_ahead[i] = inside ? source.b(c / TILE_UNITS, unit, k) : real(0);
        }
    };
    auto store = [&]() {
#pragma unroll
        for (int i = 0; i < A_EACH; ++i) {
            const int e = i * T::TEAM + member, c = e / (DEPTH * TILE_ROWS);
            if (c < COPIES) a[(c * DEPTH + e % DEPTH) * PITCH + e / DEPTH % TILE_ROWS] = a_ahead[i];
        }
#pragma unroll
        for (int i = 0; i < B_EACH; ++i) {
            const int e = i * T::TEAM + member;
            if (e < DEPTH * T::COLUMNS) b[e] = b_ahead[i];
        }
    };

    load(team * DEPTH);
    for (int k0 = 0; k0 < units; k0 += T::TEAMS * DEPTH) {
        __syncthreads();
        store();
        __syncthreads();
        if (k0 + T::TEAMS * DEPTH < units) load(k0 + (T::TEAMS + team) * DEPTH);
#pragma unroll
        for (int k = 0; k < DEPTH; ++k) {
            real left[4], right[4];
#pragma unroll
            for (int i = 0; i < 4; i += LANES) {
                const Pack x = *reinterpret_cast<const Pack*>(a + (copy * DEPTH + k) * PITCH + row4 + i);
                const Pack y = *reinterpret_cast<const Pack*>(b + k * T::COLUMNS + column4 + i);
#pragma unroll
                for (int j = 0; j < LANES; ++j) left[i + j] = x.lane[j], right[i + j] = y.lane[j];
            }
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) sums[i][j] += left[i] * right[j];
        }
    }
    __syncthreads();
    real* mine = memory + team * T::COLUMNS * TILE_ROWS;
#pragma unroll
    for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int i = 0; i < 4; ++i) mine[(column4 + j) * TILE_ROWS + row4 + i] = sums[i][j];
    __syncthreads();
}

// One product of the tile: what the teams have found, added up.
template <int COUNT>
INLINE real product(const real* memory, int gate, int tile_unit, int tile_row) {
    using T = Tile<COUNT>;
    real sum = 0;
#pragma unroll
    for (int team = 0; team < T::TEAMS; ++team)
        sum += memory[(team * T::COLUMNS + gate * TILE_UNITS + tile_unit) * TILE_ROWS + tile_row];
    return sum;
}

// Do something for every number (row, unit) of the tile that there is.
template <int COUNT, class Function>
INLINE void for_each(Index row0, int unit0, Index batch, int units, Function function) {
    for (int i = threadIdx.x; i < TILE_ROWS * TILE_UNITS; i += Tile<COUNT>::THREADS) {
        const int tile_unit = i % TILE_UNITS, tile_row = i / TILE_UNITS;
        const Index row = row0 + tile_row;
        const int unit = unit0 + tile_unit;
        if (row < batch && unit < units) function(row, unit, tile_row, tile_unit);
    }
}

// --- the way forward ----------------------------------------------------------------------------------------

constexpr int LATE = GATES - EARLY;

// Where a step's arrays begin, and what it is: the same for all kernels of the way forward.
struct Step {
    const real *xz, *x_bias, *r_bias, *params;
    const unsigned char* mask;
    const real *factors, *h;  // the first state before the step
    real *states, *outputs, *tape, *before, *late, *r;
    Index h_stride, batch, length, t;
    int units;

    INLINE bool valid(Index row) const { return !mask || mask[row * length + t]; }
    INLINE Index at(Index row) const { return row * length + t; }

    INLINE void gather(Index row, int unit, real* x, real* s, real* p) const {
#pragma unroll
        for (int g = 0; g < GATES; ++g) x[g] = xz[(at(row) * GATES + g) * units + unit] + (x_bias ? x_bias[g * units + unit] : real(0));
        s[0] = h[row * h_stride + unit];
#pragma unroll
        for (int k = 1; k < STATES; ++k) s[k] = states[(k * batch + row) * units + unit];
#pragma unroll
        for (int k = 0; k < PARAMS; ++k) p[k] = params[k * units + unit];
    }
    INLINE real biased(real product, int gate, int unit) const {
        return r_bias ? product + r_bias[gate * units + unit] : product;
    }
};

#define FORWARD_ARGUMENTS                                                                                  \
    const real *xz, const real *x_bias, const real *kernel, const real *r_bias, const real *params,        \
        const unsigned char *mask, const real *factors, const real *first_h, Index h_at, Index h_stride,   \
        real *states, real *outputs, real *tape, real *before, real *late, real *r, Index batch,           \
        Index length, Index units, Index t
#define FORWARD_STEP                                                                                       \
    {xz, x_bias, r_bias, params, mask, factors, first_h + h_at, states, outputs, tape, before, late, r,    \
     h_stride, batch, length, t, (int)units}

#if HAS_LATE
// For a cell with late gates: the early products, and what the late gates' kernel multiplies.
extern "C" __global__ void __launch_bounds__(Tile<EARLY ? EARLY : 1>::THREADS) forward_late(FORWARD_ARGUMENTS) {
    extern __shared__ __align__(16) unsigned char memory[];
    real* shared = reinterpret_cast<real*>(memory);
    const Step step = FORWARD_STEP;
    constexpr int COUNT = EARLY ? EARLY : 1;
    const Index row0 = (Index)blockIdx.y * TILE_ROWS;
    const int unit0 = blockIdx.x * TILE_UNITS;
    multiply<COUNT>(Forward{step.h, kernel, factors, h_stride, batch, (int)units, 0}, shared, row0, unit0, batch,
                    (int)units);
    for_each<COUNT>(row0, unit0, batch, (int)units, [&](Index row, int unit, int tile_row, int tile_unit) {
        real x[GATES], s[STATES], p[PARAMS + 1], out[1] = {}, values[TAPE + 1], found[GATES] = {};
        step.gather(row, unit, x, s, p);
#pragma unroll
        for (int g = 0; g < EARLY; ++g) {
            found[g] = step.biased(product<COUNT>(shared, g, tile_unit, tile_row), g, unit);
            r[(row * GATES + g) * units + unit] = found[g];
        }
        const bool valid = step.valid(row);
        if (valid) late_forward(x, found, s, p, out, values);
        late[step.at(row) * units + unit] = out[0];
    });
}
#endif

extern "C" __global__ void __launch_bounds__(Tile<LATE ? LATE : GATES>::THREADS) forward(FORWARD_ARGUMENTS) {
    extern __shared__ __align__(16) unsigned char memory[];
    real* shared = reinterpret_cast<real*>(memory);
    const Step step = FORWARD_STEP;
    constexpr int COUNT = LATE ? LATE : GATES, FIRST = LATE ? EARLY : 0;
    const Index row0 = (Index)blockIdx.y * TILE_ROWS;
    const int unit0 = blockIdx.x * TILE_UNITS;
    const real* left = LATE ? late + t * units : step.h;
    const Index left_stride = LATE ? length * units : h_stride;
    multiply<COUNT>(Forward{left, kernel, factors, left_stride, batch, (int)units, FIRST}, shared, row0, unit0,
                    batch, (int)units);
    for_each<COUNT>(row0, unit0, batch, (int)units, [&](Index row, int unit, int tile_row, int tile_unit) {
        real x[GATES], s[STATES], p[PARAMS + 1], next[STATES], values[TAPE + 1], found[GATES];
        const Index at = step.at(row);
        step.gather(row, unit, x, s, p);
        if (before) before[at * units + unit] = s[0];
        if (!step.valid(row)) {
            outputs[at * units + unit] = s[0];
            return;
        }
#pragma unroll
        for (int g = 0; g < FIRST; ++g) found[g] = r[(row * GATES + g) * units + unit];
#pragma unroll
        for (int g = FIRST; g < GATES; ++g)
            found[g] = step.biased(product<COUNT>(shared, g - FIRST, tile_unit, tile_row), g, unit);
        if (LATE) {  // once more, for what it saves: cheaper than to write it down twice
            real out[1];
            late_forward(x, found, s, p, out, values);
        }
        step_forward(x, found, s, p, next, values);
#pragma unroll
        for (int k = 0; k < TAPE; ++k)
            if (tape) tape[(at * TAPE + k) * units + unit] = values[k];
        outputs[at * units + unit] = next[0];
#pragma unroll
        for (int k = 1; k < STATES; ++k) states[(k * batch + row) * units + unit] = next[k];
    });
}

// --- the way back -------------------------------------------------------------------------------------------

// Go back through step `t`; before that add what the early gates of the step `t_done`, which was processed
// before, give the gradient of the state between them. Either may be -1: there is none.
extern "C" __global__ void __launch_bounds__(Tile<EARLY ? EARLY : 1>::THREADS) backward(
    const real* kernel, const real* params, const unsigned char* mask, const real* factors, const real* before,
    const real* tape, const real* d_outputs, real* d_states, real* d_xz, real* d_rz, real* d_params,
    Index batch, Index length, Index units, Index t_done, Index t) {
    extern __shared__ __align__(16) unsigned char memory[];
    real* shared = reinterpret_cast<real*>(memory);
    constexpr int COUNT = EARLY ? EARLY : 1;
    const Index row0 = (Index)blockIdx.y * TILE_ROWS, d_r_stride = length * GATES * units;
    const int unit0 = blockIdx.x * TILE_UNITS;
    if (EARLY && t_done >= 0)
        multiply<COUNT>(Backward{d_rz + t_done * GATES * units, kernel, d_r_stride, (int)units, 0}, shared, row0,
                        unit0, batch, (int)units);
    for_each<COUNT>(row0, unit0, batch, (int)units, [&](Index row, int unit, int tile_row, int tile_unit) {
        real d[STATES], d_s[STATES];
#pragma unroll
        for (int k = 0; k < STATES; ++k) d[k] = d_states[(k * batch + row) * units + unit];
        if (t_done >= 0)
#pragma unroll
            for (int g = 0; g < EARLY; ++g) {
                const real found = product<COUNT>(shared, g, tile_unit, tile_row);
                d[0] += DROPS ? found * factors[(g * batch + row) * units + unit] : found;
            }
        real d_x[GATES] = {}, d_r[GATES] = {}, p[PARAMS + 1], d_p[PARAMS + 1] = {};
        const Index at = row * length + t;
        if (t >= 0 && d_outputs) d[0] += d_outputs[at * units + unit];
        if (t >= 0 && (!mask || mask[at])) {
            real values[TAPE + 1];
#pragma unroll
            for (int k = 0; k < TAPE; ++k) values[k] = tape[(at * TAPE + k) * units + unit];
#pragma unroll
            for (int k = 0; k < PARAMS; ++k) p[k] = params[k * units + unit];
            step_backward(before[at * units + unit], d, values, p, d_x, d_r, d_s, d_p);
#pragma unroll
            for (int k = 0; k < STATES; ++k) d[k] = d_s[k];
        }
#pragma unroll
        for (int k = 0; k < STATES; ++k) d_states[(k * batch + row) * units + unit] = d[k];
        if (t < 0) return;
#pragma unroll
        for (int g = 0; g < GATES; ++g) {
            d_xz[(at * GATES + g) * units + unit] = d_x[g];
            if (!JOINT) d_rz[(at * GATES + g) * units + unit] = d_r[g];
        }
#pragma unroll
        for (int k = 0; k < PARAMS; ++k) d_params[(row * PARAMS + k) * units + unit] += d_p[k];
    });
}

#if HAS_LATE
// For a cell with late gates: what these give of step `t`, after `backward`.
extern "C" __global__ void __launch_bounds__(Tile<LATE ? LATE : 1>::THREADS) backward_late(
    const real* kernel, const real* params, const unsigned char* mask, const real* factors, const real* before,
    const real* tape, real* d_states, real* d_xz, real* d_rz, real* d_params, Index batch, Index length,
    Index units, Index t) {
    extern __shared__ __align__(16) unsigned char memory[];
    real* shared = reinterpret_cast<real*>(memory);
    constexpr int COUNT = LATE ? LATE : 1, FIRST = LATE ? EARLY : 0;
    const Index row0 = (Index)blockIdx.y * TILE_ROWS, d_r_stride = length * GATES * units;
    const int unit0 = blockIdx.x * TILE_UNITS;
    multiply<COUNT>(Backward{d_rz + t * GATES * units, kernel, d_r_stride, (int)units, FIRST}, shared, row0, unit0,
                    batch, (int)units);
    for_each<COUNT>(row0, unit0, batch, (int)units, [&](Index row, int unit, int tile_row, int tile_unit) {
        const Index at = row * length + t;
        if (mask && !mask[at]) return;
        real d_v[1] = {}, values[TAPE + 1], p[PARAMS + 1];
        real d_x[GATES] = {}, d_r[GATES] = {}, d_s[STATES] = {}, d_p[PARAMS + 1] = {};
#pragma unroll
        for (int g = 0; g < COUNT; ++g) {
            const real found = product<COUNT>(shared, g, tile_unit, tile_row);
            d_v[0] += DROPS ? found * factors[((FIRST + g) * batch + row) * units + unit] : found;
        }
#pragma unroll
        for (int k = 0; k < TAPE; ++k) values[k] = tape[(at * TAPE + k) * units + unit];
#pragma unroll
        for (int k = 0; k < PARAMS; ++k) p[k] = params[k * units + unit];
        late_backward(before[at * units + unit], d_v, values, p, d_x, d_r, d_s, d_p);
#pragma unroll
        for (int g = 0; g < EARLY; ++g) {
            d_xz[(at * GATES + g) * units + unit] += d_x[g];
            if (!JOINT) d_rz[(at * GATES + g) * units + unit] += d_r[g];
        }
#pragma unroll
        for (int k = 0; k < STATES; ++k) d_states[(k * batch + row) * units + unit] += d_s[k];
#pragma unroll
        for (int k = 0; k < PARAMS; ++k) d_params[(row * PARAMS + k) * units + unit] += d_p[k];
    });
}
#endif
