"""The paper's figures, drawn from a run's tables: one module per chapter, the same look for all."""
