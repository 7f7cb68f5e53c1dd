"""Wide & Deep for tabular data: https://arxiv.org/abs/1606.07792 (Cheng et al. 2016)."""
