// The softmax of rows, and its gradient.

extern "C" __global__ void softmax(const real* x, real* out, Index rows, Index width, Index lanes) {
    __shared__ real memory[THREADS];
    const Row row(memory, rows, lanes);
    const Index first = row.row * width, end = row.inside() ? width : 0;
    real top = -INFINITE, sum = 0;
    for (Index j = row.lane; j < end; j += lanes) top = ops_maximum(top, x[first + j]);
    top = row.largest(top);
    for (Index j = row.lane; j < end; j += lanes) sum += exp(x[first + j] - top);
    sum = row.sum(sum);
    for (Index j = row.lane; j < end; j += lanes) out[first + j] = exp(x[first + j] - top) / sum;
}

extern "C" __global__ void softmax_gradient(const real* g, const real* out, real* d, Index rows, Index width,
                                            Index lanes) {
    __shared__ real memory[THREADS];
    const Row row(memory, rows, lanes);
    const Index first = row.row * width, end = row.inside() ? width : 0;
    real sum = 0;
    for (Index j = row.lane; j < end; j += lanes) sum += g[first + j] * out[first + j];
    sum = row.sum(sum);
    for (Index j = row.lane; j < end; j += lanes) d[first + j] = out[first + j] * (g[first + j] - sum);
}
