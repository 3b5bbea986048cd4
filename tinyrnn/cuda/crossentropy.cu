// The cross-entropy of rows and its gradient, for FROM_LOGITS 0 or 1. Labels are numbers (SPARSE), or rows of
// probabilities, which are moved towards the uniform: y * keep + move.
//
// scores   rows, width: probabilities or logits
// scale    rows: their sum, or the logarithm of the sum of their exponentials
// weight   rows: the sum of the labels that count for the gradient

constexpr real LOW = 1e-7, HIGH = 1.0 - 1e-7;  // probabilities are taken inside, and outside have no gradient
INLINE bool is_inside(real p) { return p >= LOW && p <= HIGH; }

#if SPARSE
struct Labels {
    const Label* ids;
    Index width, ignore;
    bool ignores;
    // The class of a row; -1 for one to ignore. What is no class is the nearest one.
    INLINE Index of(Index row) const {
        const Index id = (Index)ids[row];
        if (ignores && id == ignore && ids[row] == Label(ignore)) return -1;  // and no fraction
        return id < 0 ? 0 : id < width ? id : width - 1;
    }
    INLINE bool fits(Index row) const { return of(row) < 0 || ids[row] == Label(of(row)); }
    INLINE real y(Index row, Index j) const { return of(row) == j; }
    INLINE real times(Index row, Index j, real x) const { return of(row) == j ? x : real(0); }
};
#define LABELS const Label *ids, Index ignores, Index ignore
#define MAKE_LABELS {ids, width, ignore, ignores != 0}
#else
struct Labels {
    const real* labels;
    Index width;
    real keep, move;
    INLINE bool fits(Index) const { return true; }
    INLINE real y(Index row, Index j) const { return labels[row * width + j] * keep + move; }
    INLINE real times(Index row, Index j, real x) const { return y(row, j) * x; }
};
#define LABELS const real *given, double keep, double move
#define MAKE_LABELS {given, width, real(keep), real(move)}
#endif

// `ok` becomes false if a label is no class.
extern "C" __global__ void crossentropy(LABELS, const real* scores, real* out, real* scale, real* weight, bool* ok,
                                        Index rows, Index width, Index lanes) {
    __shared__ real memory[THREADS];
    const Row row(memory, rows, lanes);
    const Labels labels = MAKE_LABELS;
    const Index at = row.row, end = row.inside() ? width : 0;
    const real* x = scores + at * width;
    real top = -INFINITE, sum = 0, value = 0, counted = 0;
    if (FROM_LOGITS) {
        for (Index j = row.lane; j < end; j += lanes) top = ops_maximum(top, x[j]);
        top = row.largest(top);
    }
    for (Index j = row.lane; j < end; j += lanes) sum += FROM_LOGITS ? exp(x[j] - top) : x[j];
    sum = row.sum(sum);
    if (FROM_LOGITS) sum = log(sum) + top;
    for (Index j = row.lane; j < end; j += lanes) {
        const real p = x[j] / sum;
        value -= labels.times(at, j, FROM_LOGITS ? x[j] - sum : log(ops_clip(p, LOW, HIGH)));
        if (FROM_LOGITS || is_inside(p)) counted += labels.y(at, j);
    }
    value = row.sum(value);
    counted = row.sum(counted);
    if (!row.leads()) return;
    out[at] = value, scale[at] = sum, weight[at] = counted;
    if (!labels.fits(at)) *ok = false;
}

extern "C" __global__ void crossentropy_gradient(LABELS, const real* scores, const real* scale, const real* weight,
                                                 const real* g, Index g_stride, real* d, Index rows, Index width,
                                                 Index lanes) {
    const Row row(nullptr, rows, lanes);
    const Labels labels = MAKE_LABELS;
    if (!row.inside()) return;
    const Index at = row.row, first = at * width;
    const real from = g[at * g_stride], total = scale[at], counted = weight[at];
    for (Index j = row.lane; j < width; j += lanes) {
        const real x = scores[first + j], y = labels.y(at, j), p = x / total;
        d[first + j] = FROM_LOGITS ? from * (exp(x - total) * counted - y)
                                   : from / total * (counted - (is_inside(p) ? y / p : real(0)));
    }
}
