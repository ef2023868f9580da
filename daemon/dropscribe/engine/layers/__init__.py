"""Neural network layers and kernels shared by the models."""
