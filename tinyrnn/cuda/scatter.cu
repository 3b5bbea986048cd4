// Rows added up by their ids, in an order that is always the same. `order` sorts the ids and keeps the order
// of equal ones: a run is what has one id. The sorted positions are cut into chunks.
//
// rows     n, width         order   n        ids   n, each in 0 ... length
// out      length, width    partial   chunks, width: the part of a run that began in an earlier chunk
//
// Neighbouring threads read neighbouring numbers of a row; a block has several chunks where rows are short.

struct Place {
    Index chunk, column;
    INLINE Place(Index width, int columns) {
        chunk = (Index)blockIdx.x * (blockDim.x / columns) + threadIdx.x / columns;
        column = (Index)blockIdx.y * columns + threadIdx.x % columns;
        if (column >= width) chunk = -1;
    }
};

// Add up the runs of a chunk: those that begin in it into `out`, the one that began before into `partial`.
extern "C" __global__ void add_runs(const real* rows, const Index* order, const Id* ids, real* out,
                                    real* partial, Index n, Index width, Index chunks,
                                    Index length_of_chunk, Index columns) {
    const Place place(width, (int)columns);
    if (place.chunk < 0 || place.chunk >= chunks) return;
    const Index first = place.chunk * length_of_chunk;
    const Index end = first + length_of_chunk < n ? first + length_of_chunk : n;
    Id id = ids[order[first]];
    bool began_before = first > 0 && ids[order[first - 1]] == id;
    real sum = 0;
    for (Index i = first; i < end; ++i) {
        const Index row = order[i];
        const Id next = ids[row];
        if (next != id) {
            (began_before ? partial + place.chunk * width : out + id * width)[place.column] = sum;
            id = next, sum = 0, began_before = false;
        }
        sum += rows[row * width + place.column];
    }
    (began_before ? partial + place.chunk * width : out + id * width)[place.column] = sum;
}

// Add what follows in later chunks to the run that begins in a chunk and reaches its end.
extern "C" __global__ void join_runs(const Index* order, const Id* ids, real* out, const real* partial,
                                     Index n, Index width, Index chunks, Index length_of_chunk,
                                     Index columns) {
    const Place place(width, (int)columns);
    if (place.chunk < 0 || place.chunk + 1 >= chunks) return;
    const Index first = place.chunk * length_of_chunk;
    const Id id = ids[order[first + length_of_chunk - 1]];
    if (first > 0 && ids[order[first - 1]] == id) return;  // began before
    real sum = out[id * width + place.column];
    for (Index chunk = place.chunk + 1; chunk < chunks && ids[order[chunk * length_of_chunk]] == id; ++chunk)
        sum += partial[chunk * width + place.column];
    out[id * width + place.column] = sum;
}
