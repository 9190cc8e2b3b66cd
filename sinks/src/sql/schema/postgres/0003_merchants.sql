-- A merchant's own addresses, and by how much what is received for its payments may differ.

ALTER TABLE merchants ADD COLUMN addresses JSON NOT NULL DEFAULT '[]';    -- [{"chain", "address"}]
ALTER TABLE merchants ADD COLUMN tolerance JSON NOT NULL DEFAULT 'null';  -- {"parts_per_million", "amounts"}, or null
