-- What becomes of a launch where an agent does not have the workspace's image: it goes elsewhere, or it waits until that is loaded.
ALTER TABLE workspaces ADD COLUMN image_policy text NOT NULL DEFAULT 'elsewhere' CHECK (image_policy IN ('elsewhere', 'wait'));
