"""Which configuration is next and what is done: plans, the ledger, the study. No Ray, no MLflow."""
