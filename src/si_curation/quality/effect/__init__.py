"""Whether a result survives stricter quality of units."""
