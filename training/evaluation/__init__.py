"""Read models and charts of an evaluation."""
