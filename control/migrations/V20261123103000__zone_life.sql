-- Zones are made and deleted, and a deployment's zones and workspaces are applied from files in one step.

ALTER TABLE zones
    -- What was applied last from files: the revision that the operator named, and the version that it made. Another version since is drift.
    ADD COLUMN applied_revision text NOT NULL DEFAULT '',
    ADD COLUMN applied_version bigint,
    ADD COLUMN applied_at timestamptz;
ALTER TABLE workspaces
    ADD COLUMN applied_revision text NOT NULL DEFAULT '',
    ADD COLUMN applied_version bigint,
    ADD COLUMN applied_at timestamptz;

-- Names of zones that were deleted: what ran there is still told by them. Nothing else of a zone outlives it.
CREATE TABLE gone_zones (
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    deleted_at  timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE sessions DROP CONSTRAINT sessions_zone_id_fkey;
ALTER TABLE nodes DROP CONSTRAINT nodes_zone_id_fkey;
ALTER TABLE enrollments DROP CONSTRAINT enrollments_zone_id_fkey;

CREATE OR REPLACE FUNCTION zone_view_v1(z zones) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('id', z.id, 'name', z.name, 'version', z.version, 'settings', zone_settings_v1(z),
        'alternates', to_jsonb(z.alternates), 'labels', z.labels,
        'applied_revision', z.applied_revision, 'applied_at', z.applied_at,
        'drifted', z.applied_version IS NOT NULL AND z.applied_version <> z.version,
        'default', NOT EXISTS (SELECT 1 FROM zones x WHERE x.position < z.position),
        'nodes_ready', (SELECT count(*) FROM nodes n WHERE n.zone_id = z.id AND n.removed_at IS NULL
            AND NOT n.draining AND node_is_reachable_v1(n.last_seen_at)))
$$;

-- Makes a zone or replaces one; alternates by their names, all of which must be there. p_entry: {"name", "settings", "labels"}.
CREATE FUNCTION save_zone_v1(p_id uuid, p_entry jsonb, p_by uuid) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_unknown text;
    v_alternates uuid[];
    v zones;
BEGIN
    SELECT n INTO v_unknown FROM jsonb_array_elements_text(p_entry->'settings'->'alternate_zones') n
        WHERE NOT EXISTS (SELECT 1 FROM zones z WHERE z.name = n AND z.id <> p_id) LIMIT 1;
    IF FOUND THEN
        RETURN jsonb_build_object('outcome', 'no_alternate', 'zone', v_unknown);
    END IF;
    v_alternates := ARRAY(SELECT z.id FROM jsonb_array_elements_text(p_entry->'settings'->'alternate_zones') WITH ORDINALITY n(name, place)
        JOIN zones z ON z.name = n.name ORDER BY n.place);
    INSERT INTO zones AS old (id, name, settings, alternates, labels)
        VALUES (p_id, p_entry->>'name', (p_entry->'settings') - 'alternate_zones'::text, v_alternates, p_entry->'labels')
        ON CONFLICT (id) DO UPDATE SET name = excluded.name, settings = excluded.settings, alternates = excluded.alternates,
            labels = excluded.labels, version = old.version + 1
        RETURNING * INTO v;
    INSERT INTO audit (user_id, action, target, outcome, detail)
        VALUES (p_by, CASE WHEN v.version = 1 THEN 'create_zone' ELSE 'update_zone' END, v.name, 'ok', p_entry);
    RETURN jsonb_build_object('outcome', 'ok', 'zone', zone_view_v1(v));
END
$$;

-- Deletes a zone. Nodes that answer keep it: `in_use`; with p_drain they are drained and their sessions are told to end, so that it can be
-- deleted soon. Nodes that do not answer are removed with it, and what ran on them is lost, with this as the reason.
CREATE FUNCTION delete_zone_v1(p_zone uuid, p_drain boolean, p_by uuid) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v zones;
    v_node record;
    v_session record;
    v_answering bigint;
    v_sessions bigint;
BEGIN
    SELECT * INTO v FROM zones WHERE id = p_zone;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    IF (SELECT count(*) FROM zones) = 1 THEN
        RETURN jsonb_build_object('outcome', 'last');
    END IF;
    -- Nobody joins any more.
    DELETE FROM enrollments WHERE zone_id = p_zone;
    SELECT count(*), coalesce(sum(n.sessions_used), 0) INTO v_answering, v_sessions FROM nodes n
        WHERE n.zone_id = p_zone AND n.removed_at IS NULL AND node_is_reachable_v1(n.last_seen_at)
          -- A drained node without sessions and streams does nothing any more.
          AND NOT (n.draining AND n.sessions_used = 0 AND n.streams = 0);
    IF v_answering > 0 THEN
        IF p_drain THEN
            UPDATE nodes SET draining = true WHERE zone_id = p_zone AND removed_at IS NULL AND NOT draining;
            FOR v_session IN SELECT s.id FROM sessions s WHERE s.zone_id = p_zone AND s.state NOT IN ('ending', 'ended', 'failed', 'lost')
                ORDER BY s.node_id, s.id LOOP
                PERFORM order_end_v1(v_session.id, 'its zone ' || v.name || ' is being deleted');
            END LOOP;
            INSERT INTO audit (user_id, action, target, outcome) VALUES (p_by, 'drain_zone', v.name, 'ok');
        END IF;
        RETURN jsonb_build_object('outcome', CASE WHEN p_drain THEN 'draining' ELSE 'in_use' END,
            'nodes', v_answering, 'sessions', v_sessions);
    END IF;
    -- Lock order: users, nodes, sessions.
    PERFORM 1 FROM users WHERE id IN (SELECT s.user_id FROM sessions s WHERE s.zone_id = p_zone AND s.reserved)
        ORDER BY id FOR NO KEY UPDATE;
    FOR v_node IN SELECT n.id FROM nodes n WHERE n.zone_id = p_zone AND n.removed_at IS NULL ORDER BY n.id FOR UPDATE LOOP
        FOR v_session IN SELECT s.id FROM sessions s WHERE s.node_id = v_node.id AND s.state NOT IN ('ended', 'failed', 'lost')
            ORDER BY s.id FOR NO KEY UPDATE LOOP
            PERFORM release_v1(v_session.id);
            UPDATE sessions SET state = 'lost', desired = 'end', generation = generation + 1, ended_at = now(),
                reason = 'its zone ' || v.name || ' was deleted' WHERE id = v_session.id;
            PERFORM announce_v1(v_node.id, v_session.id);
        END LOOP;
        UPDATE nodes SET removed_at = now() WHERE id = v_node.id;
    END LOOP;
    -- A list of alternates that becomes empty must not come to mean any zone.
    UPDATE zones SET alternates = array_remove(alternates, p_zone), version = version + 1,
        settings = CASE WHEN alternates = ARRAY[p_zone] THEN settings || '{"search_alternate_zones": false}' ELSE settings END
        WHERE p_zone = ANY (alternates);
    UPDATE workspaces SET zones = array_remove(zones, p_zone), version = version + 1 WHERE p_zone = ANY (zones);
    INSERT INTO gone_zones (id, name) VALUES (v.id, v.name);
    DELETE FROM zones WHERE id = p_zone;
    INSERT INTO audit (user_id, action, target, outcome, detail) VALUES (p_by, 'delete_zone', v.name, 'ok', v.settings);
    RETURN jsonb_build_object('outcome', 'ok');
END
$$;
