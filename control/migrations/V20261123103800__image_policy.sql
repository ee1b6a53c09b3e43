-- What becomes of a launch where an agent does not have the workspace's image: it goes elsewhere, or it waits until that is loaded. None: as
-- the zone's settings say, whose `image_policy` is `elsewhere` where nobody said otherwise.
ALTER TABLE workspaces ADD COLUMN image_policy text CHECK (image_policy IN ('elsewhere', 'wait'));

-- Whether a launch of a workspace waits for its image in a zone with these settings.
CREATE FUNCTION waits_for_image_v1(w workspaces, p_settings jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(w.image_policy, p_settings->>'image_policy', 'elsewhere') = 'wait'
$$;

-- A Web App node of the release before writes a zone's settings as a whole, without those that it does not know: they stay as they are.
CREATE FUNCTION unknown_settings_stay_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.settings := coalesce((SELECT jsonb_object_agg(s.key, s.value) FROM jsonb_each(OLD.settings) s
        WHERE s.key IN ('image_policy', 'proxy_alternates', 'home_storage')), '{}') || NEW.settings;
    RETURN NEW;
END
$$;
CREATE TRIGGER unknown_settings_stay BEFORE UPDATE OF settings ON zones FOR EACH ROW
    WHEN (OLD.settings IS DISTINCT FROM NEW.settings) EXECUTE FUNCTION unknown_settings_stay_v1();
