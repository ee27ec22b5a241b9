"""What makes int8 networks more faithful: changes of weights, biases and plans, measured on calibration data."""
