"""Linear layers: of the fastest implementation for the device, and with factors in bf16 and int8 on a CPU."""
