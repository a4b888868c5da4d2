"""Claims that runs are judged for, by accounting instead of a model."""
