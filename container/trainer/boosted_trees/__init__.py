"""Gradient-boosted trees with XGBoost behind a scikit-learn preprocessing pipeline."""
