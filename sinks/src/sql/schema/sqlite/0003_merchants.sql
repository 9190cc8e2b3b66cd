-- A merchant's own addresses, and by how much what is received for its payments may differ.

ALTER TABLE merchants ADD COLUMN addresses TEXT NOT NULL DEFAULT '[]';  -- JSON: [{"chain", "address"}]
ALTER TABLE merchants ADD COLUMN tolerance TEXT NOT NULL DEFAULT 'null'; -- JSON: {"parts_per_million", "amounts"}, or null
