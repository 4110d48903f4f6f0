"""Floor 2: how good an answer is. One file a grader."""
