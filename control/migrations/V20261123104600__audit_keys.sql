-- The audit log names the API key with which something was done; keys that are bound to zones use their user's own sessions there; and of a
-- node that was removed nothing is left in the lists of images.

ALTER TABLE audit ADD COLUMN key_id uuid;
CREATE INDEX audit_key ON audit (key_id, id) WHERE key_id IS NOT NULL;

-- The Web App node says with which key it asks (by the hash of its token, as a setting of the connection for as long as that takes); whatever
-- is written down of that key's user is of this key.
CREATE FUNCTION audit_key_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.key_id := (SELECT k.id FROM api_keys k
        WHERE k.token_hash = decode(current_setting('meridian.key', true), 'hex') AND k.user_id = NEW.user_id);
    RETURN NEW;
END
$$;
CREATE TRIGGER audit_key BEFORE INSERT ON audit FOR EACH ROW
    WHEN (NEW.user_id IS NOT NULL AND coalesce(current_setting('meridian.key', true), '') <> '')
    EXECUTE FUNCTION audit_key_v1();

-- As list_audit_v1, with the key: by id or name.
CREATE FUNCTION list_audit_v2(
    p_user uuid, p_key text, p_action text, p_target text, p_outcome text, p_since timestamptz, p_until timestamptz, p_after bigint,
    p_limit integer
) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('id', a.id, 'at', a.at,
        'user', CASE WHEN a.user_id IS NOT NULL THEN jsonb_build_object('id', a.user_id,
            'name', coalesce((SELECT u.name FROM users u WHERE u.id = a.user_id), a.user_id::text)) END,
        'key', CASE WHEN a.key_id IS NOT NULL THEN jsonb_build_object('id', a.key_id,
            'name', coalesce((SELECT k.name FROM api_keys k WHERE k.id = a.key_id), a.key_id::text)) END,
        'node', CASE WHEN a.node_id IS NOT NULL THEN jsonb_build_object('id', a.node_id,
            'name', coalesce((SELECT n.name FROM nodes n WHERE n.id = a.node_id), a.node_id::text)) END,
        'action', a.action, 'target', a.target, 'outcome', a.outcome, 'detail', a.detail, 'address', a.address,
        'request_id', a.request_id) ORDER BY a.id DESC), '[]')
    FROM (SELECT * FROM audit x
        WHERE (p_user IS NULL OR x.user_id = p_user) AND (p_action IS NULL OR x.action = p_action)
          AND (p_key IS NULL OR x.key_id::text = lower(p_key) OR x.key_id IN (SELECT k.id FROM api_keys k WHERE k.name = p_key))
          AND (p_target IS NULL OR x.target = p_target) AND (p_outcome IS NULL OR x.outcome = p_outcome)
          AND (p_since IS NULL OR x.at >= p_since) AND (p_until IS NULL OR x.at < p_until)
          AND (p_after IS NULL OR x.id < p_after)
        ORDER BY x.id DESC LIMIT p_limit) a
$$;

ALTER TABLE api_keys DROP CONSTRAINT api_keys_check;

-- Whether whoever holds the token may use what is theirs in a zone: all do, but for keys that are bound to others.
CREATE FUNCTION reaches_v1(p_token bytea, p_zone uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT NOT EXISTS (SELECT 1 FROM api_keys k WHERE k.token_hash = p_token AND k.zones IS NOT NULL AND NOT p_zone = ANY (k.zones))
$$;

CREATE FUNCTION node_removed_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM node_images WHERE node_id = NEW.id;
    DELETE FROM image_standings WHERE node_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER node_removed AFTER UPDATE OF removed_at ON nodes FOR EACH ROW
    WHEN (OLD.removed_at IS NULL AND NEW.removed_at IS NOT NULL) EXECUTE FUNCTION node_removed_v1();
DELETE FROM node_images WHERE node_id IN (SELECT id FROM nodes WHERE removed_at IS NOT NULL);
DELETE FROM image_standings WHERE node_id IN (SELECT id FROM nodes WHERE removed_at IS NOT NULL);
