"""A way in: fp32 ONNX networks as Symbols with parameters."""
