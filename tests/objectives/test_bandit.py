"""A bandit whose best answers the policy hardly ever gives: learning from one's own answers must win, as published.

After the didactic problem of Tajwar et al. 2024 (arXiv 2404.14367, section 5): a categorical policy, a reward that peaks
where the policy starts with little probability, and data that was drawn before training.
"""
