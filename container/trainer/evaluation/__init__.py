"""Measuring models on held-out rows, so that a gate can decide without models and without data.

Any number of models (tonight's, the one in production, the anchor) are scored on the same rows in one pass.
Memory is bounded whatever the number of rows: what is kept are sums over some thousand groups of users.

- :mod:`~trainer.evaluation.models`: what a kind of model must offer to be evaluated here;
- :mod:`~trainer.evaluation.measurement`: predictions in, metrics with their uncertainty out;
- :mod:`~trainer.evaluation.command`: the ``evaluate`` command, which writes ``evaluation.json``.
"""
