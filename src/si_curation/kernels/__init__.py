"""Pure kernels: plain arrays in, plain arrays out, one quantity per file."""
