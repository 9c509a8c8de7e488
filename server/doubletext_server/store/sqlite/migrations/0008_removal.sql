-- The rules by which a step is folded (doubletext_statemachine.model.RULES). What is there was made under the first.
ALTER TABLE steps ADD COLUMN rules INTEGER NOT NULL DEFAULT 1;
