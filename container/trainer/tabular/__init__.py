"""What the models of tabular data share: the column schema, reading, metrics, scoring."""
