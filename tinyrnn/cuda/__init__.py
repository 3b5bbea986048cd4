"""What runs on the GPU in kernels of our own: written or emitted as CUDA C, compiled when first used.

`module` compiles and launches; `functions.cu` holds the elementwise functions of `tinyrnn.ops`, in front of
every kernel. The kernels of recurrent layers are in `tinyrnn.recurrent`.
"""
