// The mean over a row of `element`, a function of one number of each of two arrays that stands before this text;
// or where GRADIENT is 1 and `element` the gradient of an array, that of the mean.

#if GRADIENT
extern "C" __global__ void row_mean(const real* a, const real* b, const real* g, Index g_stride, real* d,
                                    Index rows, Index width, Index lanes) {
    const Row row(nullptr, rows, lanes);
    if (!row.inside()) return;
    const Index first = row.row * width;
    const real from = g[row.row * g_stride] / real(width);
    for (Index j = row.lane; j < width; j += lanes) d[first + j] = element(a[first + j], b[first + j], from);
}
#else
extern "C" __global__ void row_mean(const real* a, const real* b, real* out, Index rows, Index width,
                                    Index lanes) {
    __shared__ real memory[THREADS];
    const Row row(memory, rows, lanes);
    const Index first = row.row * width, end = row.inside() ? width : 0;
    real sum = 0;
    for (Index j = row.lane; j < end; j += lanes) sum += element(a[first + j], b[first + j]);
    sum = row.sum(sum);
    if (row.leads()) out[row.row] = sum / real(width);
}
#endif
