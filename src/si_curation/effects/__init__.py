"""Parts of `effect_vs_quality`: directions of metrics, inputs, measures, the verdict."""
