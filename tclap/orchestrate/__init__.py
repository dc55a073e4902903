"""How trials run: the only room that knows Ray, Optuna and MLflow."""
