// All time steps of a sequence in one launch. Every row of the batch has a block, which keeps the recurrent
// kernel: a thread for each of its columns (way forward; way back: for each gate and row), the first HELD
// factors in registers, the others in shared memory. So a time step reads nothing but the row's own numbers,
// a step ahead of their use, and waits for no other block. The first threads also compute the cell's step,
// one unit each.
//
// Before this text stand, for one cell and one layer: UNITS, HELD, and what emit_cuda.py prints.
//
// xz, d_xz, d_rz       batch, time, gates, units      mask        batch, time; null: all steps count
// outputs, before      batch, time, units             factors     gates, batch, units: recurrent dropout, or null
// late                 batch, time, units             params      params, units
// x_bias, r_bias       gates, units; or null
// tape                 batch, time, TAPE, units       d_params    batch, params, units
// states0, finals      states, batch, units           d_x_bias    batch, gates, units; the same d_r_bias
//
// `before` is the first state before each step, `late` what the late gates' kernel multiplies.

constexpr int COLUMNS = GATES * UNITS;
constexpr int THREADS = (COLUMNS + 31) / 32 * 32;
constexpr int PADDED = (UNITS + LANES - 1) / LANES * LANES;

// The sum of a thread's part of the kernel times a vector, of PADDED numbers.
INLINE real multiply(const real* held, const real* rest, const real* vector) {
    const Pack* packs = reinterpret_cast<const Pack*>(vector);
    real sums[LANES] = {};  // several, so that no addition waits for the one before
#pragma unroll
    for (int k = 0; k < HELD; k += LANES) {
        const Pack pack = packs[k / LANES];
#pragma unroll
        for (int i = 0; i < LANES; ++i) sums[i] += held[k + i] * pack.lane[i];
    }
#pragma unroll 4
    for (int k = HELD; k < PADDED; k += LANES) {
        const Pack pack = packs[k / LANES];
#pragma unroll
        for (int i = 0; i < LANES; ++i) sums[i] += rest[(k - HELD + i) * THREADS] * pack.lane[i];
    }
    real sum = sums[0];
#pragma unroll
    for (int i = 1; i < LANES; ++i) sum += sums[i];
    return sum;
}

// What all threads of a block share, and what one of them is.
struct Block {
    real* vectors;   // by gate: what its part of the kernel is multiplied with; filled up with zeros
    real* products;  // by gate and unit
    real* rest;      // this thread's factors that are not in registers, THREADS apart
    int gate, unit;
    bool multiplies, steps;

    INLINE Block(unsigned char* memory) {
        vectors = reinterpret_cast<real*>(memory);
        products = vectors + GATES * PADDED;
        const int me = threadIdx.x;
        rest = products + COLUMNS + me;
        gate = me / UNITS;
        unit = me % UNITS;
        multiplies = me < COLUMNS;
        steps = me < UNITS;
        for (int k = me; k < GATES * PADDED; k += THREADS) vectors[k] = 0;
        __syncthreads();
    }

    // Keep a thread's part of the kernel; `stride` lies between its numbers.
    INLINE void take(real* held, const real* part, int stride) const {
#pragma unroll
        for (int k = 0; k < HELD; ++k) held[k] = multiplies && k < UNITS ? part[k * stride] : real(0);
        for (int k = HELD; k < PADDED; ++k)
            rest[(k - HELD) * THREADS] = multiplies && k < UNITS ? part[k * stride] : real(0);
    }
};

extern "C" __global__ void __launch_bounds__(THREADS) forward(
    const real* xz, const real* x_bias, const real* kernel, const real* r_bias, const real* params,
    const real* states0, const unsigned char* mask, const real* factors, real* outputs, real* finals, real* tape, real* before,
    real* late, Index batch, Index length, int reverse) {
    extern __shared__ __align__(16) unsigned char memory[];
    const Block block(memory);
    const int unit = block.unit, gate = block.gate;
    const Index row = blockIdx.x;
    real held[HELD + 1];  // not of length 0
    block.take(held, kernel + threadIdx.x, COLUMNS);
    const real* vector = block.vectors + (factors ? gate * PADDED : 0);

    real s[STATES], p[PARAMS + 1], x_b[GATES], r_b[GATES], factor[GATES], x_ahead[GATES];
#pragma unroll
    for (int k = 0; k < STATES; ++k) s[k] = block.steps ? states0[(k * batch + row) * UNITS + unit] : real(0);
#pragma unroll
    for (int k = 0; k < PARAMS; ++k) p[k] = params[k * UNITS + unit];
#pragma unroll
    for (int g = 0; g < GATES; ++g) {
        x_b[g] = x_bias ? x_bias[g * UNITS + unit] : real(0);
        r_b[g] = r_bias ? r_bias[g * UNITS + unit] : real(0);
        factor[g] = factors ? factors[(g * batch + row) * UNITS + unit] : real(1);
    }
    const Index first = reverse ? length - 1 : 0, ahead = reverse ? -1 : 1;
    const real* x_at = xz + (row * length + first) * COLUMNS + unit;
#pragma unroll
    for (int g = 0; g < GATES; ++g) x_ahead[g] = block.steps ? x_at[g * UNITS] : real(0);
    bool valid_ahead = !mask || mask[row * length + first];

    // Hand the state, or what stands for it, out to the gates from `from` to `to`.
    auto hand_out = [&](real h, int from, int to) {
        if (!factors) block.vectors[unit] = h;
#pragma unroll
        for (int g = 0; g < GATES; ++g)
            if (factors && g >= from && g < to) block.vectors[g * PADDED + unit] = h * factor[g];
    };
    if (block.steps) hand_out(s[0], 0, EARLY);

    for (Index step = 0; step < length; ++step) {
        const Index at = row * length + first + ahead * step;
        const bool valid = valid_ahead;
        real x[GATES], values[TAPE + 1];
#pragma unroll
        for (int g = 0; g < GATES; ++g) x[g] = x_ahead[g] + x_b[g];
        if (step + 1 < length) {
            x_at += ahead * COLUMNS;
#pragma unroll
            for (int g = 0; g < GATES; ++g) x_ahead[g] = block.steps ? x_at[g * UNITS] : real(0);
            valid_ahead = !mask || mask[at + ahead];
        }
        if (block.steps && before) before[at * UNITS + unit] = s[0];
        if (valid) {  // or not, for the whole block
            __syncthreads();
            if (block.multiplies && gate < EARLY)
                block.products[threadIdx.x] = multiply(held, block.rest, vector);
            __syncthreads();
            real r[GATES];
#pragma unroll
            for (int g = 0; g < EARLY; ++g) r[g] = block.products[g * UNITS + unit] + r_b[g];
            if (EARLY < GATES) {
                if (block.steps) {
                    real v[1] = {};
                    late_forward(x, r, s, p, v, values);
                    hand_out(v[0], EARLY, GATES);
                    if (late) late[at * UNITS + unit] = v[0];
                }
                __syncthreads();
                if (block.multiplies && gate >= EARLY)
                    block.products[threadIdx.x] = multiply(held, block.rest, vector);
                __syncthreads();
#pragma unroll
                for (int g = EARLY; g < GATES; ++g) r[g] = block.products[g * UNITS + unit] + r_b[g];
            }
            if (block.steps) {
                real next[STATES];
                step_forward(x, r, s, p, next, values);
#pragma unroll
                for (int k = 0; k < TAPE; ++k)
                    if (tape) tape[(at * TAPE + k) * UNITS + unit] = values[k];
#pragma unroll
                for (int k = 0; k < STATES; ++k) s[k] = next[k];
                hand_out(s[0], 0, EARLY);
            }
        } else if (block.steps && late) {
            late[at * UNITS + unit] = 0;
        }
        if (block.steps) outputs[at * UNITS + unit] = s[0];
    }
#pragma unroll
    for (int k = 0; k < STATES; ++k)
        if (block.steps) finals[(k * batch + row) * UNITS + unit] = s[k];
}

extern "C" __global__ void __launch_bounds__(THREADS) backward(
    const real* kernel, const real* params, const unsigned char* mask, const real* factors,
    const real* before, const real* tape, const real* d_outputs, const real* d_finals, real* d_xz,
    real* d_rz, real* d_states0, real* d_x_bias, real* d_r_bias, real* d_params, Index batch, Index length,
    int reverse) {
    extern __shared__ __align__(16) unsigned char memory[];
    const Block block(memory);
    const int unit = block.unit, gate = block.gate;
    const Index row = blockIdx.x;
    real held[HELD + 1];
    block.take(held, kernel + unit * COLUMNS + gate * UNITS, 1);
    const real* vector = block.vectors + gate * PADDED;

    real d[STATES], p[PARAMS + 1], factor[GATES];
    real x_bias[GATES] = {}, r_bias[GATES] = {}, of_params[PARAMS + 1] = {};
#pragma unroll
    for (int k = 0; k < STATES; ++k) d[k] = block.steps ? d_finals[(k * batch + row) * UNITS + unit] : real(0);
#pragma unroll
    for (int k = 0; k < PARAMS; ++k) p[k] = params[k * UNITS + unit];
#pragma unroll
    for (int g = 0; g < GATES; ++g) factor[g] = factors ? factors[(g * batch + row) * UNITS + unit] : real(1);

    const Index last = reverse ? 0 : length - 1, ahead = reverse ? 1 : -1;
    real values_ahead[TAPE + 1], h_ahead = 0, d_y_ahead = 0;
    bool valid_ahead = true;
    auto look_ahead = [&](Index at) {
        valid_ahead = !mask || mask[at];
        if (!block.steps) return;
#pragma unroll
        for (int k = 0; k < TAPE; ++k) values_ahead[k] = tape[(at * TAPE + k) * UNITS + unit];
        h_ahead = before[at * UNITS + unit];
        d_y_ahead = d_outputs ? d_outputs[at * UNITS + unit] : real(0);
    };
    // Return what the gates from `from` to `to` give the gradient of what their kernel multiplied.
    auto collect = [&](int from, int to) {
        real sum = 0;
#pragma unroll
        for (int g = 0; g < GATES; ++g)
            if (g >= from && g < to) sum += block.products[g * UNITS + unit] * factor[g];
        return sum;
    };
    look_ahead(row * length + last);

    for (Index step = 0; step < length; ++step) {
        const Index at = row * length + last + ahead * step;
        const bool valid = valid_ahead;
        const real h = h_ahead;
        real values[TAPE + 1];
#pragma unroll
        for (int k = 0; k < TAPE; ++k) values[k] = values_ahead[k];
        d[0] += d_y_ahead;
        if (step + 1 < length) look_ahead(at + ahead);

        real d_x[GATES] = {}, d_r[GATES] = {}, d_s[STATES], d_p[PARAMS + 1];
        if (valid) {
            if (block.steps) step_backward(h, d, values, p, d_x, d_r, d_s, d_p);
            if (EARLY < GATES) {
#pragma unroll
                for (int g = EARLY; g < GATES; ++g)
                    if (block.steps) block.vectors[g * PADDED + unit] = d_r[g];
                __syncthreads();
                if (block.multiplies && gate >= EARLY)
                    block.products[threadIdx.x] = multiply(held, block.rest, vector);
                __syncthreads();
                if (block.steps) {
                    const real d_v[1] = {collect(EARLY, GATES)};
                    late_backward(h, d_v, values, p, d_x, d_r, d_s, d_p);
                }
            }
        }
        if (block.steps) {
#pragma unroll
            for (int g = 0; g < GATES; ++g) {
                d_xz[at * COLUMNS + g * UNITS + unit] = d_x[g];
                x_bias[g] += d_x[g];
                if (!JOINT) d_rz[at * COLUMNS + g * UNITS + unit] = d_r[g];
                if (!JOINT) r_bias[g] += d_r[g];
            }
        }
        if (valid) {
#pragma unroll
            for (int g = 0; g < EARLY; ++g)
                if (block.steps) block.vectors[g * PADDED + unit] = d_r[g];
            __syncthreads();
            if (block.multiplies && gate < EARLY)
                block.products[threadIdx.x] = multiply(held, block.rest, vector);
            __syncthreads();
            if (block.steps) {
#pragma unroll
                for (int k = 0; k < STATES; ++k) d[k] = d_s[k];
                d[0] += collect(0, EARLY);
#pragma unroll
                for (int k = 0; k < PARAMS; ++k) of_params[k] += d_p[k];
            }
        }
    }
    if (!block.steps) return;
#pragma unroll
    for (int k = 0; k < STATES; ++k) d_states0[(k * batch + row) * UNITS + unit] = d[k];
#pragma unroll
    for (int g = 0; g < GATES; ++g) {
        d_x_bias[(row * GATES + g) * UNITS + unit] = x_bias[g];
        if (!JOINT) d_r_bias[(row * GATES + g) * UNITS + unit] = r_bias[g];
    }
#pragma unroll
    for (int k = 0; k < PARAMS; ++k) d_params[(row * PARAMS + k) * UNITS + unit] = of_params[k];
}
