-- Of a config map's `binaryData`: a value that is no text. No job has it in its environment.
ALTER TABLE object_values ADD COLUMN is_binary INTEGER NOT NULL DEFAULT 0 CHECK (is_binary IN (0, 1));
