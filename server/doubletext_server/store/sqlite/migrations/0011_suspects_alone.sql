-- How often a suspect was the only one in a process that died.
ALTER TABLE suspects ADD COLUMN times_alone INTEGER NOT NULL DEFAULT 0;
