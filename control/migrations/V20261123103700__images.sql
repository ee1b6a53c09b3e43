-- Images: what a zone wants on each of its agents ahead of need, how they stand there, and who the agents are at registries.

-- Another after each change of what the zone's agents are told; they say it back with each heartbeat. It never comes back, also where a
-- database is restored.
ALTER TABLE zones ADD COLUMN images_version uuid NOT NULL DEFAULT gen_random_uuid();

CREATE TABLE zone_images (
    zone_id    uuid NOT NULL REFERENCES zones ON DELETE CASCADE,
    reference  text COLLATE "C" NOT NULL CHECK (reference <> '' AND length(reference) <= 512),
    wanted_by  uuid REFERENCES users,
    wanted_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (zone_id, reference)
);

-- Passwords are sealed before they come here, each for its zone and host.
CREATE TABLE zone_registries (
    zone_id          uuid NOT NULL REFERENCES zones ON DELETE CASCADE,
    host             text COLLATE "C" NOT NULL CHECK (host <> '' AND length(host) <= 255),
    username         text NOT NULL,
    sealed_password  bytea NOT NULL,
    set_by           uuid REFERENCES users,
    set_at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (zone_id, host)
);

-- What an agent said last of the images that its zone wants or its sessions wait for.
CREATE TABLE image_standings (
    node_id    uuid NOT NULL REFERENCES nodes ON DELETE CASCADE,
    reference  text COLLATE "C" NOT NULL,
    standing   jsonb NOT NULL,
    -- Since when it is in this state; progress is no other state.
    since      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (node_id, reference)
);

-- What a zone's agents are told. The Web App node opens the passwords before it passes this on.
CREATE FUNCTION image_orders_v1(z zones) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('version', z.images_version,
        'images', (SELECT coalesce(jsonb_agg(i.reference ORDER BY i.reference), '[]') FROM zone_images i WHERE i.zone_id = z.id),
        'registries', (SELECT coalesce(jsonb_agg(jsonb_build_object('host', r.host, 'username', r.username,
            'sealed_password', encode(r.sealed_password, 'hex')) ORDER BY r.host), '[]') FROM zone_registries r WHERE r.zone_id = z.id))
$$;

-- Takes what an agent says of images, and adds to the answer what it shall have, if it knows another version of that. What did not change is
-- not written.
CREATE FUNCTION told_images_v1(p_node uuid, p_agent jsonb, p_answer jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_zone zones;
BEGIN
    SELECT z.* INTO v_zone FROM nodes n JOIN zones z ON z.id = n.zone_id
        WHERE n.id = p_node AND n.role = 'agent' AND n.removed_at IS NULL;
    IF NOT FOUND THEN
        RETURN p_answer;
    END IF;
    IF jsonb_typeof(p_agent->'standings') = 'array' THEN
        DELETE FROM image_standings s WHERE s.node_id = p_node AND s.reference NOT IN (
            SELECT e->>'reference' FROM jsonb_array_elements(p_agent->'standings') e WHERE e ? 'reference');
        INSERT INTO image_standings (node_id, reference, standing)
            SELECT DISTINCT ON (e->>'reference') p_node, e->>'reference', x.standing
            FROM jsonb_array_elements(p_agent->'standings') e
            CROSS JOIN LATERAL (SELECT e - 'reference' || CASE WHEN e ? 'reason'
                THEN jsonb_build_object('reason', left(e->>'reason', 500)) ELSE '{}' END AS standing) x
            WHERE length(e->>'reference') BETWEEN 1 AND 512
              AND NOT EXISTS (SELECT 1 FROM image_standings k
                WHERE k.node_id = p_node AND k.reference = e->>'reference' AND k.standing = x.standing)
            ON CONFLICT (node_id, reference) DO UPDATE SET standing = excluded.standing,
                since = CASE WHEN image_standings.standing->>'state' = excluded.standing->>'state'
                    THEN image_standings.since ELSE excluded.since END;
    END IF;
    IF p_agent->>'images_version' IS DISTINCT FROM v_zone.images_version::text THEN
        p_answer := jsonb_set(p_answer, '{update,images}', image_orders_v1(v_zone));
    END IF;
    RETURN p_answer;
END
$$;

-- The zone's agents hear of it with their next heartbeat.
CREATE FUNCTION images_changed_v1(p_zone uuid) RETURNS void LANGUAGE sql AS $$
    UPDATE zones SET images_version = gen_random_uuid() WHERE id = p_zone
$$;

-- Wants an image in a zone. Wanted already, nothing changes.
CREATE FUNCTION want_image_v1(p_zone uuid, p_reference text, p_most integer, p_by uuid) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_zone text;
BEGIN
    -- Those who want something in one zone at once do so one after the other: the bound holds.
    SELECT name INTO v_zone FROM zones WHERE id = p_zone FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'no_zone');
    END IF;
    IF EXISTS (SELECT 1 FROM zone_images WHERE zone_id = p_zone AND reference = p_reference) THEN
        RETURN jsonb_build_object('outcome', 'ok');
    END IF;
    IF (SELECT count(*) FROM zone_images WHERE zone_id = p_zone) >= p_most THEN
        RETURN jsonb_build_object('outcome', 'too_many');
    END IF;
    INSERT INTO zone_images (zone_id, reference, wanted_by) VALUES (p_zone, p_reference, p_by);
    PERFORM images_changed_v1(p_zone);
    -- What a zone wants is in its file: whoever wants more than that made the zone drift from it.
    UPDATE zones SET version = version + 1 WHERE id = p_zone;
    INSERT INTO audit (user_id, action, target, outcome, detail)
        VALUES (p_by, 'want_image', p_reference, 'ok', jsonb_build_object('zone', v_zone));
    RETURN jsonb_build_object('outcome', 'ok');
END
$$;

-- Agents keep what they have, and do not get it again. Whether the zone wanted it.
CREATE FUNCTION unwant_image_v1(p_zone uuid, p_reference text, p_by uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM zone_images WHERE zone_id = p_zone AND reference = p_reference;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM images_changed_v1(p_zone);
    UPDATE zones SET version = version + 1 WHERE id = p_zone;
    INSERT INTO audit (user_id, action, target, outcome, detail)
        SELECT p_by, 'unwant_image', p_reference, 'ok', jsonb_build_object('zone', name) FROM zones WHERE id = p_zone;
    RETURN true;
END
$$;

-- Wants exactly these images in a zone, as a file has them.
CREATE FUNCTION want_images_v1(p_zone uuid, p_references jsonb, p_by uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_reference text;
BEGIN
    FOR v_reference IN SELECT i.reference FROM zone_images i WHERE i.zone_id = p_zone AND NOT p_references ? i.reference ORDER BY 1 LOOP
        PERFORM unwant_image_v1(p_zone, v_reference, p_by);
    END LOOP;
    -- How many there may be was judged before.
    FOR v_reference IN SELECT jsonb_array_elements_text(p_references) LOOP
        PERFORM want_image_v1(p_zone, v_reference, 2147483647, p_by);
    END LOOP;
END
$$;

CREATE FUNCTION set_registry_v1(p_zone uuid, p_host text, p_username text, p_sealed bytea, p_most integer, p_by uuid)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_zone text;
BEGIN
    SELECT name INTO v_zone FROM zones WHERE id = p_zone FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'no_zone');
    END IF;
    IF (SELECT count(*) FROM zone_registries WHERE zone_id = p_zone AND host <> p_host) >= p_most THEN
        RETURN jsonb_build_object('outcome', 'too_many');
    END IF;
    INSERT INTO zone_registries (zone_id, host, username, sealed_password, set_by)
        VALUES (p_zone, p_host, p_username, p_sealed, p_by)
        ON CONFLICT (zone_id, host) DO UPDATE SET username = excluded.username, sealed_password = excluded.sealed_password,
            set_by = excluded.set_by, set_at = now();
    PERFORM images_changed_v1(p_zone);
    INSERT INTO audit (user_id, action, target, outcome, detail)
        VALUES (p_by, 'set_registry', p_host, 'ok', jsonb_build_object('zone', v_zone, 'username', p_username));
    RETURN jsonb_build_object('outcome', 'ok');
END
$$;

CREATE FUNCTION remove_registry_v1(p_zone uuid, p_host text, p_by uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM zone_registries WHERE zone_id = p_zone AND host = p_host;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM images_changed_v1(p_zone);
    INSERT INTO audit (user_id, action, target, outcome, detail)
        SELECT p_by, 'remove_registry', p_host, 'ok', jsonb_build_object('zone', name) FROM zones WHERE id = p_zone;
    RETURN true;
END
$$;

-- Zone by image by agent: what zones want and what their workspaces run, page by page. p_zone: this one alone; p_zones: those that a key is
-- bound to; after p_position and p_reference.
CREATE FUNCTION image_matrix_v1(p_zone uuid, p_zones uuid[], p_position integer, p_reference text, p_limit integer)
RETURNS jsonb LANGUAGE sql STABLE AS $$
    WITH page AS MATERIALIZED (
        SELECT z.id, z.name, z.position, r.reference, bool_or(r.workspace IS NULL) AS wanted,
            coalesce(jsonb_agg(r.workspace ORDER BY r.workspace) FILTER (WHERE r.workspace IS NOT NULL), '[]') AS workspaces
        FROM zones z CROSS JOIN LATERAL (
            SELECT i.reference, NULL::text AS workspace FROM zone_images i WHERE i.zone_id = z.id
            UNION ALL
            SELECT w.image COLLATE "C", w.name FROM workspaces w
                WHERE w.deleted_at IS NULL AND z.id = ANY (coalesce(w.zones, ARRAY[z.id]))) r
        WHERE (p_zone IS NULL OR z.id = p_zone) AND (p_zones IS NULL OR z.id = ANY (p_zones))
          AND (p_position IS NULL OR z.position > p_position OR z.position = p_position AND r.reference > p_reference COLLATE "C")
        GROUP BY z.id, r.reference
        ORDER BY z.position, r.reference LIMIT p_limit)
    SELECT coalesce(jsonb_agg(jsonb_build_object('zone', p.name, 'position', p.position, 'reference', p.reference, 'wanted', p.wanted,
        'workspaces', p.workspaces, 'agents', (
            SELECT coalesce(jsonb_agg(coalesce(s.standing, '{}') || jsonb_build_object(
                'agent', n.name, 'agent_id', n.id, 'reachable', node_is_reachable_v1(n.last_seen_at),
                'state', coalesce(s.standing->>'state', CASE WHEN i.image_id IS NULL THEN 'absent' ELSE 'present' END),
                'image_id', coalesce(s.standing->>'image_id', i.image_id), 'since', s.since,
                'disk_free_mb', n.report->'disk'->'free_mb', 'disk_total_mb', n.report->'disk'->'total_mb') ORDER BY n.name), '[]')
            FROM nodes n
            LEFT JOIN image_standings s ON s.node_id = n.id AND s.reference = p.reference
            LEFT JOIN node_images i ON i.node_id = n.id AND i.reference = p.reference
            WHERE n.zone_id = p.id AND n.role = 'agent' AND n.removed_at IS NULL))
        ORDER BY p.position, p.reference), '[]')
    FROM page p
$$;
