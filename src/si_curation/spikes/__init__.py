"""Values of every spike: amplitudes and features."""
