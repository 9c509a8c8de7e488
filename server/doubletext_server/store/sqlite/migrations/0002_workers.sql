ALTER TABLE runs ADD COLUMN worker_id TEXT;
ALTER TABLE runs ADD COLUMN lease_expires INTEGER CHECK (lease_expires IS NULL OR status = 'running');
ALTER TABLE runs ADD COLUMN outcome_digest TEXT;
ALTER TABLE threads ADD COLUMN drain_grace_until INTEGER;
ALTER TABLE threads ADD COLUMN drain_worker_id TEXT;
UPDATE threads SET drain_grace_until = drain_until WHERE drain_until IS NOT NULL;
