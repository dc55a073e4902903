"""Post-training in plain torch: samples, stages, the loop, its distribution over workers, checkpoints."""
