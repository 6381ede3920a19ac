"""All kernels compiled at once, before they are needed."""
