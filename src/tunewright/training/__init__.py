"""Floor 2: sampler, schedules, the gradient step, checkpoints."""
