"""What MLflow is told and asked: the only room that imports it."""
