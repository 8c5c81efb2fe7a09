"""Which recipes to try: a planner on measured prices, and Optuna around it."""
