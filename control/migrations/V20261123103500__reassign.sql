-- Users, groups and whole zones are moved to another zone: looked at before, undone after, never across the border of an isolated zone.

-- An account's own home zone comes before what its groups say.
ALTER TABLE users ADD COLUMN home_zone uuid;

-- One move. Whatever it replaced stands here, so that it can be undone.
CREATE TABLE reassignments (
    id         uuid PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('user', 'group', 'zone')),
    subject    text NOT NULL,
    to_zone    uuid NOT NULL,
    to_name    text NOT NULL,
    -- {"users": {id: home zone or null}, "groups": {id: home zone or null}}, as they were.
    before     jsonb NOT NULL,
    people     bigint NOT NULL,
    sessions   bigint NOT NULL,
    made_by    uuid,
    made_at    timestamptz NOT NULL DEFAULT now(),
    undone_at  timestamptz
);
CREATE INDEX reassignments_at ON reassignments (made_at);

-- The move that a session's user was part of: it is offered to be launched again, there.
ALTER TABLE sessions ADD COLUMN reassignment_id uuid;
CREATE INDEX sessions_moved ON sessions (reassignment_id) WHERE reassignment_id IS NOT NULL;

-- Each setting of one user with its value and where it comes from: the account itself, a group, or nobody (the default). Where two groups
-- have the same priority, the older one wins.
CREATE OR REPLACE FUNCTION policy_rows_v1(u users)
RETURNS TABLE (setting text, value jsonb, source text, group_id uuid, group_name text, group_priority integer)
LANGUAGE sql STABLE AS $$
    SELECT DISTINCT ON (p.setting) p.setting, p.value, p.source, p.group_id, p.group_name, p.group_priority FROM (
        SELECT 'session_limit' AS setting, to_jsonb(u.session_limit) AS value, 'account' AS source, NULL::uuid AS group_id,
            NULL::text AS group_name, NULL::integer AS group_priority, 0 AS turn
        WHERE u.session_limit_set
        UNION ALL
        SELECT 'home_zone', to_jsonb(u.home_zone), 'account', NULL, NULL, NULL, 0 WHERE u.home_zone IS NOT NULL
        UNION ALL
        SELECT e.key, e.value, 'group', g.id, g.name, g.priority, g.priority
        FROM groups g CROSS JOIN LATERAL jsonb_each(g.settings) e
        WHERE g.system = 'everyone' OR g.id IN (SELECT m.group_id FROM group_members m WHERE m.user_id = u.id)
        UNION ALL
        SELECT e.key, e.value, 'default', NULL, NULL, NULL, 1000001 FROM jsonb_each(policy_defaults_v1()) e
    ) p ORDER BY p.setting, p.turn, p.group_id
$$;

-- The move that a session's user was part of, as long as the session could be launched again elsewhere for it.
CREATE FUNCTION relaunch_view_v1(s sessions) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('zone', z.name, 'because', 'an administrator moved you to ' || z.name)
    FROM reassignments r JOIN zones z ON z.id = r.to_zone
    WHERE s.reassignment_id = r.id AND r.undone_at IS NULL AND s.zone_id <> r.to_zone AND s.state NOT IN ('ended', 'failed')
$$;

CREATE FUNCTION reassignment_view_v1(r reassignments) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('id', r.id, 'kind', r.kind, 'subject', r.subject, 'to', coalesce(z.name, r.to_name),
        'people', r.people, 'sessions', r.sessions, 'made_at', r.made_at, 'undone_at', r.undone_at,
        'made_by', (SELECT u.name FROM users u WHERE u.id = r.made_by))
    FROM (SELECT 1) one LEFT JOIN zones z ON z.id = r.to_zone
$$;

-- Moves a user, the members of a group, or everybody whose home is a zone and whoever has a session there. A look (p_dry) does the same and
-- takes it back: what it shows is what would be. One person who may not be moved keeps all where they are.
CREATE FUNCTION reassign_v1(p_id uuid, p_kind text, p_subject text, p_to text, p_dry boolean, p_by uuid, p_address text, p_request text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_to zones;
    v_from zones;
    v_group groups;
    v_name text;
    v_users uuid[];
    v_groups uuid[] := '{}';
    v_own uuid[];
    v_people jsonb;
    v_before jsonb;
    v_sessions jsonb;
    v_refused bigint;
    v_session record;
    v_answer jsonb;
BEGIN
    SELECT * INTO v_to FROM zones WHERE name = p_to OR id::text = p_to;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'no_zone', 'zone', p_to);
    END IF;
    CASE p_kind
        WHEN 'user' THEN
            SELECT ARRAY[id], name INTO v_users, v_name FROM users
                WHERE (id::text = lower(p_subject) OR lower(name) = lower(p_subject)) AND deleted_at IS NULL
                ORDER BY (id::text = lower(p_subject)) DESC LIMIT 1;
        WHEN 'group' THEN
            SELECT * INTO v_group FROM groups WHERE id::text = lower(p_subject) OR lower(name) = lower(p_subject)
                ORDER BY (id::text = lower(p_subject)) DESC LIMIT 1 FOR UPDATE;
            v_name := v_group.name;
            v_groups := ARRAY[v_group.id];
            v_users := ARRAY(SELECT u.id FROM users u WHERE u.deleted_at IS NULL AND (v_group.system = 'everyone'
                OR EXISTS (SELECT 1 FROM group_members m WHERE m.group_id = v_group.id AND m.user_id = u.id)));
        ELSE
            SELECT * INTO v_from FROM zones WHERE name = p_subject OR id::text = p_subject;
            v_name := v_from.name;
            v_groups := ARRAY(SELECT g.id FROM groups g WHERE g.settings->>'home_zone' = v_from.id::text ORDER BY g.id FOR UPDATE);
            v_users := ARRAY(SELECT u.id FROM users u WHERE u.deleted_at IS NULL AND (u.home_zone = v_from.id
                OR EXISTS (SELECT 1 FROM sessions s WHERE s.user_id = u.id AND s.zone_id = v_from.id
                    AND s.state NOT IN ('ending', 'ended', 'failed', 'lost'))
                OR policy_v1(u)->>'home_zone' = v_from.id::text AND EXISTS (SELECT 1 FROM groups g WHERE g.id = ANY (v_groups)
                    AND (g.system = 'everyone' OR EXISTS (SELECT 1 FROM group_members m WHERE m.group_id = g.id AND m.user_id = u.id)))));
    END CASE;
    IF v_name IS NULL THEN
        RETURN jsonb_build_object('outcome', 'not_found', 'what', p_kind);
    END IF;
    IF v_from.id = v_to.id THEN
        RETURN jsonb_build_object('outcome', 'same_zone', 'zone', v_to.name);
    END IF;
    IF p_kind = 'zone' AND ((v_from.settings->>'isolated')::boolean OR (v_to.settings->>'isolated')::boolean) THEN
        RETURN jsonb_build_object('outcome', 'isolated', 'zone',
            CASE WHEN (v_from.settings->>'isolated')::boolean THEN v_from.name ELSE v_to.name END);
    END IF;
    -- Lock order: groups, users, nodes, sessions.
    PERFORM 1 FROM users WHERE id = ANY (v_users) ORDER BY id FOR NO KEY UPDATE;
    -- Who would be moved, from where, and the first rule against it.
    SELECT coalesce(jsonb_agg(jsonb_build_object('id', u.id, 'name', u.name, 'from', h.name, 'refused_because', CASE
            WHEN a.name IS NOT NULL THEN a.name || ' is isolated: nobody is moved out of it'
            WHEN (v_to.settings->>'isolated')::boolean AND h.id IS DISTINCT FROM v_to.id THEN
                v_to.name || ' is isolated: nobody is moved into it'
            WHEN p->'allowed_zones' <> '[]' AND NOT p->'allowed_zones' ? v_to.id::text THEN
                'policy does not allow ' || v_to.name END) ORDER BY lower(u.name), u.id), '[]')
        INTO v_people
        FROM users u CROSS JOIN LATERAL policy_v1(u) p
        LEFT JOIN zones h ON h.id::text = p->>'home_zone'
        LEFT JOIN LATERAL (SELECT z.name FROM zones z WHERE z.id <> v_to.id AND (z.settings->>'isolated')::boolean
            AND (z.id = h.id OR EXISTS (SELECT 1 FROM sessions s WHERE s.user_id = u.id AND s.zone_id = z.id
                AND s.state NOT IN ('ended', 'failed', 'lost'))) ORDER BY z.position LIMIT 1) a ON true
        WHERE u.id = ANY (v_users);
    SELECT count(*) INTO v_refused FROM jsonb_array_elements(v_people) e WHERE e->>'refused_because' IS NOT NULL;
    BEGIN
        -- What a group decides for its members moves with the group; an account of its own only where no group speaks of the zone.
        v_before := jsonb_build_object('groups', (SELECT coalesce(jsonb_object_agg(g.id, g.settings->'home_zone'), '{}')
            FROM groups g WHERE g.id = ANY (v_groups)));
        UPDATE groups SET settings = settings || jsonb_build_object('home_zone', v_to.id), version = version + 1 WHERE id = ANY (v_groups);
        v_own := ARRAY(SELECT u.id FROM users u WHERE u.id = ANY (v_users) AND CASE p_kind WHEN 'user' THEN true WHEN 'group' THEN false
            ELSE u.home_zone = v_from.id OR u.home_zone IS NULL AND policy_v1(u)->>'home_zone' IS NULL END);
        v_before := v_before || jsonb_build_object('users', (SELECT coalesce(jsonb_object_agg(u.id, u.home_zone), '{}')
            FROM users u WHERE u.id = ANY (v_own)));
        UPDATE users SET home_zone = v_to.id WHERE id = ANY (v_own);
        -- Somebody for whom another group, or the account itself, says otherwise stays.
        SELECT coalesce(jsonb_agg(e.person || jsonb_build_object('stays_because', CASE
                WHEN e.person->>'refused_because' IS NULL AND r.value IS DISTINCT FROM to_jsonb(v_to.id) THEN
                    coalesce('group ' || r.group_name, 'their own account') || ' says ' || coalesce(z.name, 'otherwise') END) ORDER BY e.place), '[]')
            INTO v_people
            FROM jsonb_array_elements(v_people) WITH ORDINALITY e(person, place)
            JOIN users u ON u.id = (e.person->>'id')::uuid
            CROSS JOIN LATERAL (SELECT * FROM policy_rows_v1(u) x WHERE x.setting = 'home_zone') r
            LEFT JOIN zones z ON to_jsonb(z.id) = r.value;
        SELECT coalesce(jsonb_agg(jsonb_build_object('id', s.id, 'workspace', w.name, 'user', u.name, 'zone', z.name, 'state', s.state)
                ORDER BY lower(u.name), s.id), '[]')
            INTO v_sessions
            FROM jsonb_array_elements(v_people) e
            JOIN sessions s ON s.user_id = (e->>'id')::uuid AND e->>'refused_because' IS NULL AND e->>'stays_because' IS NULL
            JOIN users u ON u.id = s.user_id JOIN workspaces w ON w.id = s.workspace_id LEFT JOIN zones z ON z.id = s.zone_id
            WHERE s.zone_id <> v_to.id AND (v_from.id IS NULL OR s.zone_id = v_from.id)
              AND s.state NOT IN ('ending', 'ended', 'failed', 'lost');
        v_answer := jsonb_build_object('outcome', CASE WHEN p_dry THEN 'would' WHEN v_refused > 0 THEN 'refused' ELSE 'ok' END,
            'kind', p_kind, 'subject', v_name, 'to', v_to.name, 'refused', v_refused,
            'people', jsonb_array_length(v_people), 'sessions', jsonb_array_length(v_sessions),
            -- Those who are refused come first: they are why nothing is done.
            'first_people', (SELECT coalesce(jsonb_agg(f.person ORDER BY f.place), '[]') FROM (
                SELECT e.person, row_number() OVER (ORDER BY (e.person->>'refused_because' IS NULL), e.place) AS place
                FROM jsonb_array_elements(v_people) WITH ORDINALITY e(person, place) ORDER BY place LIMIT 100) f),
            'first_sessions', jsonb_path_query_array(v_sessions, '$[0 to 99]'));
        IF p_dry OR v_refused > 0 THEN
            RAISE EXCEPTION USING ERRCODE = 'MR003';
        END IF;
    EXCEPTION WHEN SQLSTATE 'MR003' THEN
        RETURN v_answer;
    END;
    INSERT INTO reassignments (id, kind, subject, to_zone, to_name, before, people, sessions, made_by)
        VALUES (p_id, p_kind, v_name, v_to.id, v_to.name, v_before, jsonb_array_length(v_people), jsonb_array_length(v_sessions), p_by);
    FOR v_session IN SELECT s.id, s.node_id FROM sessions s
        WHERE s.id IN (SELECT (e->>'id')::uuid FROM jsonb_array_elements(v_sessions) e) ORDER BY s.id FOR NO KEY UPDATE LOOP
        UPDATE sessions SET reassignment_id = p_id WHERE id = v_session.id;
        PERFORM announce_v1(v_session.node_id, v_session.id);
    END LOOP;
    INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
        VALUES (p_by, 'reassign_' || p_kind, v_name, 'ok', jsonb_build_object('id', p_id, 'to', v_to.name,
            'people', jsonb_array_length(v_people), 'sessions', jsonb_array_length(v_sessions)), p_address, p_request);
    RETURN v_answer || jsonb_build_object('id', p_id);
END
$$;

-- Puts back what a move replaced, where it still is as the move left it, and takes its offers back.
CREATE FUNCTION undo_reassignment_v1(p_id uuid, p_by uuid, p_address text, p_request text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v reassignments;
    v_isolated text;
    v_session record;
BEGIN
    SELECT * INTO v FROM reassignments WHERE id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    IF v.undone_at IS NOT NULL THEN
        RETURN jsonb_build_object('outcome', 'ok', 'reassignment', reassignment_view_v1(v));
    END IF;
    SELECT z.name INTO v_isolated FROM zones z WHERE (z.settings->>'isolated')::boolean AND (z.id = v.to_zone OR z.id::text IN (
        SELECT e.value #>> '{}' FROM jsonb_each(v.before->'users') e UNION SELECT e.value #>> '{}' FROM jsonb_each(v.before->'groups') e))
        ORDER BY z.position LIMIT 1;
    IF FOUND THEN
        RETURN jsonb_build_object('outcome', 'isolated', 'zone', v_isolated);
    END IF;
    -- Lock order: groups, users, nodes, sessions.
    PERFORM 1 FROM groups g WHERE v.before->'groups' ? g.id::text ORDER BY g.id FOR UPDATE;
    PERFORM 1 FROM users u WHERE v.before->'users' ? u.id::text ORDER BY u.id FOR NO KEY UPDATE;
    UPDATE groups g SET version = version + 1, settings = CASE WHEN v.before->'groups'->g.id::text = 'null' THEN g.settings - 'home_zone'::text
            ELSE g.settings || jsonb_build_object('home_zone', v.before->'groups'->g.id::text) END
        WHERE v.before->'groups' ? g.id::text AND g.settings->>'home_zone' = v.to_zone::text;
    UPDATE users u SET home_zone = (v.before->'users'->>u.id::text)::uuid
        WHERE v.before->'users' ? u.id::text AND u.home_zone = v.to_zone;
    FOR v_session IN SELECT s.id, s.node_id FROM sessions s WHERE s.reassignment_id = p_id ORDER BY s.id FOR NO KEY UPDATE LOOP
        UPDATE sessions SET reassignment_id = NULL WHERE id = v_session.id;
        PERFORM announce_v1(v_session.node_id, v_session.id);
    END LOOP;
    UPDATE reassignments SET undone_at = now() WHERE id = p_id RETURNING * INTO v;
    INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
        VALUES (p_by, 'undo_reassignment', v.subject, 'ok', jsonb_build_object('id', p_id, 'to', v.to_name), p_address, p_request);
    RETURN jsonb_build_object('outcome', 'ok', 'reassignment', reassignment_view_v1(v));
END
$$;
