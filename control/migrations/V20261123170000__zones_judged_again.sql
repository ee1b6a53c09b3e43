-- Zones judged again: who may name one, which one is never slipped into, what a deletion leaves, and which moves offer a session to be
-- launched again. Functions of which one passage changes are amended there; `\sf NAME` shows what they are now.

-- Rewrites one passage of a function, which must be there, once.
CREATE FUNCTION amend_v1(p_function text, p_old text, p_new text) RETURNS void LANGUAGE plpgsql AS $amend$
DECLARE
    v_text text := (SELECT pg_get_functiondef(p.oid) FROM pg_proc p
        WHERE p.proname = p_function AND p.pronamespace = current_schema()::regnamespace);
BEGIN
    IF length(v_text) - length(replace(v_text, p_old, '')) <> length(p_old) THEN
        RAISE EXCEPTION 'not one passage of % is: %', p_function, p_old;
    END IF;
    EXECUTE replace(v_text, p_old, p_new);
END
$amend$;

-- An agent that is full by its own limit, in words that are right for a limit of one, too.
SELECT amend_v1('candidates_v2', $$n.session_limit || ' sessions, which is as many as it may have'$$,
    $$'at its session limit of ' || n.session_limit$$);

-- What is against naming this zone, where policy gives no choice: nothing, if it is the home zone.
CREATE FUNCTION zone_choice_refusal_v1(p_named text, p_zone uuid, p_policy jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_named IS NOT NULL AND p_policy->'zone_choice' = 'false' AND p_policy->>'home_zone' IS DISTINCT FROM p_zone::text
        THEN jsonb_build_object('outcome', 'policy', 'setting', 'zone_choice', 'allowed', 'false') END
$$;
SELECT amend_v1('launch_v2',
    $$    IF v_refusal IS NULL AND p_zone IS NOT NULL AND v_policy->'zone_choice' = 'false' AND v_policy->>'home_zone' <> v_zone.id::text THEN
        v_refusal := jsonb_build_object('outcome', 'policy', 'setting', 'zone_choice', 'allowed', 'false');
    END IF;
$$, $$    v_refusal := coalesce(v_refusal, zone_choice_refusal_v1(p_zone, v_zone.id, v_policy));
$$);
SELECT amend_v1('explain_v1', $$    v_refusal := may_launch_v1(v_user, w, v_policy);
$$, $$    v_refusal := coalesce(may_launch_v1(v_user, w, v_policy), zone_choice_refusal_v1(p_zone, v_zone.id, v_policy));
$$);
-- Asked beforehand, the nearest zone is the one that this person's page found last.
SELECT amend_v1('explain_v1', $$choose_zone_v1(''::bytea, p_zone, $$,
    $$choose_zone_v1(coalesce((SELECT m.token_hash FROM login_zones m JOIN logins l ON l.token_hash = m.token_hash
        WHERE l.user_id = v_user.id ORDER BY m.measured_at DESC LIMIT 1), ''), p_zone, $$);

-- Where a launch begins, and why, in words for its user: what was asked for; else, of the zones that policy allows and that offer the
-- workspace, the home zone, the one of the host name asked for, the nearest by measurement, the answering node's own, the first. The nearest
-- stays who it is, but a launch that it has no room for begins in the next nearest that has some. An isolated zone neither lends nor borrows,
-- and nobody comes into it by being near: only who chose it, calls it home, came by its address, or is allowed it by name. Nor does anybody
-- whose home it is begin outside of it. p_context: {"host", "node_zone"}.
CREATE OR REPLACE FUNCTION choose_zone_v1(
    p_token bytea, p_zone text, w workspaces, p_policy jsonb, p_context jsonb, OUT chosen zones, OUT because text, OUT distances jsonb
) LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_login login_zones;
    v_id uuid;
    v_turn integer;
    v_lacks text;
    v_other zones;
BEGIN
    SELECT * INTO v_login FROM login_zones WHERE token_hash = p_token;
    distances := v_login.state->'round_trips_ms';
    IF p_zone IS NOT NULL THEN
        SELECT * INTO chosen FROM zones WHERE name = p_zone;
        because := 'you chose it';
        RETURN;
    END IF;
    SELECT t.id, t.turn, (ARRAY['it is your home zone', 'the address you came by belongs to it', 'it is the nearest to you, as measured',
            'the Web App node that answered belongs to it', 'it is the first of the zones that you may use',
            'there is no other zone that you may use'])[t.turn]
        INTO v_id, v_turn, because
        FROM (
            SELECT h.id, h.position, h.may, h.isolated, CASE
                WHEN h.id::text = p_policy->>'home_zone' THEN 1
                -- A host name that several zones share says nothing.
                WHEN h.host AND h.hosts = 1 THEN 2
                WHEN h.isolated AND NOT p_policy->'allowed_zones' ? h.id::text THEN 6
                WHEN h.id = v_login.zone_id THEN 3
                WHEN h.name = p_context->>'node_zone' THEN 4
                ELSE 5 END AS turn
            FROM (SELECT m.*, count(*) FILTER (WHERE m.host) OVER () AS hosts FROM (
                SELECT z.id, z.name, z.position, coalesce((z.settings->>'isolated')::boolean, false) AS isolated,
                    coalesce(p_context->>'host' IN (host_of_v1(z.settings->>'proxy_hostname'),
                        host_of_v1(z.settings->>'allow_origin_domain')), false) AS host,
                    (p_policy->'allowed_zones' = '[]' OR p_policy->'allowed_zones' ? z.id::text)
                        AND z.id = ANY (coalesce(w.zones, ARRAY[z.id])) AS may
                FROM zones z) m) h) t
        -- Where no zone is allowed and offers the workspace, the explanation shall still begin somewhere.
        ORDER BY (t.may OR t.turn = 1 AND t.isolated) DESC, t.turn, t.position LIMIT 1;
    SELECT * INTO chosen FROM zones WHERE id = v_id;
    IF v_turn = 3 AND (chosen.settings->>'isolated')::boolean IS NOT TRUE THEN
        v_lacks := zone_lacks_v1(chosen.id, w);
        IF v_lacks IS NOT NULL THEN
            SELECT z.* INTO v_other FROM jsonb_each_text(distances) d JOIN zones z ON z.id::text = d.key
                WHERE z.id <> chosen.id AND (z.settings->>'isolated')::boolean IS NOT TRUE
                  AND (p_policy->'allowed_zones' = '[]' OR p_policy->'allowed_zones' ? d.key)
                  AND z.id = ANY (coalesce(w.zones, ARRAY[z.id])) AND zone_lacks_v1(z.id, w) IS NULL
                ORDER BY d.value::float8, z.position LIMIT 1;
            IF FOUND THEN
                because := 'it is the nearest to you with room: ' || chosen.name || ' is nearer, and ' || v_lacks;
                chosen := v_other;
            END IF;
        END IF;
    END IF;
END
$$;
SELECT amend_v1('measured_v1', $$(p.allowed = '[]' OR p.allowed ? z.id::text) AND EXISTS$$,
    $$(p.allowed = '[]' AND (z.settings->>'isolated')::boolean IS NOT TRUE OR p.allowed ? z.id::text) AND EXISTS$$);

-- Whoever calls an isolated zone home sees what they can launch there, unless they choose another.
SELECT amend_v1('hidden_because_v1', $$    IF p_zone IS NULL AND (w.zones IS NOT NULL OR v_allowed$$,
    $$    IF p_zone IS NULL AND p_policy->>'home_zone' IS NOT NULL THEN
        SELECT z.id INTO p_zone FROM zones z WHERE z.id = (p_policy->>'home_zone')::uuid AND (z.settings->>'isolated')::boolean;
    END IF;
    IF p_zone IS NULL AND (w.zones IS NOT NULL OR v_allowed$$);

-- A deletion that is refused leaves the zone's tokens as they are. Two who delete the last two zones come one after the other. A zone that
-- was made again from its file, with the same id, can be deleted again.
SELECT amend_v1('delete_zone_v1', $$    SELECT * INTO v FROM zones WHERE id = p_zone;
$$, $$    PERFORM pg_advisory_xact_lock(hashtext('the number of zones'));
    SELECT * INTO v FROM zones WHERE id = p_zone;
$$);
SELECT amend_v1('delete_zone_v1', $$    -- Nobody joins any more.
    DELETE FROM enrollments WHERE zone_id = p_zone;
$$, '');
SELECT amend_v1('delete_zone_v1', $$        IF p_drain THEN
$$, $$        IF p_drain THEN
            -- Nobody joins any more.
            DELETE FROM enrollments WHERE zone_id = p_zone;
$$);
SELECT amend_v1('delete_zone_v1', $$    -- Lock order: users, nodes, sessions.
$$, $$    DELETE FROM enrollments WHERE zone_id = p_zone;
    -- Lock order: users, nodes, sessions.
$$);
SELECT amend_v1('delete_zone_v1', $$INSERT INTO gone_zones (id, name) VALUES (v.id, v.name);$$,
    $$INSERT INTO gone_zones (id, name) VALUES (v.id, v.name)
        ON CONFLICT (id) DO UPDATE SET name = excluded.name, deleted_at = now();$$);

-- As many as one heartbeat's answer shall carry; the next ones follow when these are gone.
SELECT amend_v1('told_homes_v1', $$        SELECT coalesce(jsonb_agg(home_order_v1(ROW(h.*)::homes) ORDER BY h.id), '[]') FROM homes h JOIN nodes n ON n.id = p_node
        WHERE h.reset_at IS NOT NULL AND CASE WHEN h.storage IS NULL THEN h.node_id = n.id
            ELSE h.zone_id = n.zone_id AND h.storage = p_agent->>'shared_homes' END));
$$, $$        SELECT coalesce(jsonb_agg(home_order_v1(ROW(g.*)::homes) ORDER BY g.id), '[]') FROM (
            SELECT h.* FROM homes h JOIN nodes n ON n.id = p_node
            WHERE h.reset_at IS NOT NULL AND CASE WHEN h.storage IS NULL THEN h.node_id = n.id
                ELSE h.zone_id = n.zone_id AND h.storage = p_agent->>'shared_homes' END
            ORDER BY h.id LIMIT 200) g));
$$);

-- Why a session cannot be launched again in a zone, in words; null: it can, as far as that can be known before.
CREATE FUNCTION stays_because_v1(s sessions, p_to zones) RETURNS text LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT CASE
        WHEN NOT p_to.id = ANY (coalesce(w.zones, ARRAY[p_to.id])) THEN w.name || ' is not offered in ' || p_to.name
        WHEN h.id IS NOT NULL AND h.zone_id IS DISTINCT FROM p_to.id AND (policy_v1(u)->>'persistent_home')::boolean THEN
            'its home is in ' || coalesce((SELECT z.name FROM zones z WHERE z.id = h.zone_id), 'a zone that was deleted') END
        FROM workspaces w CROSS JOIN users u
        LEFT JOIN homes h ON h.user_id = u.id AND h.workspace_id = w.id AND h.reset_at IS NULL
        WHERE w.id = s.workspace_id AND u.id = s.user_id);
END
$$;
SELECT amend_v1('relaunch_view_v1', $$s.state NOT IN ('ended', 'failed')$$,
    $$s.state NOT IN ('ended', 'failed') AND stays_because_v1(s, z) IS NULL$$);
SELECT amend_v1('reassign_v1', $$    v_refused bigint;
$$, $$    v_refused bigint;
    v_offered bigint;
$$);
SELECT amend_v1('reassign_v1', $$'zone', z.name, 'state', s.state)
                ORDER BY lower(u.name), s.id), '[]')
            INTO v_sessions
$$, $$'zone', z.name, 'state', s.state, 'stays_because', b.stays_because)
                ORDER BY b.stays_because IS NOT NULL, lower(u.name), s.id), '[]'),
                count(*) FILTER (WHERE b.stays_because IS NULL)
            INTO v_sessions, v_offered
$$);
SELECT amend_v1('reassign_v1', $$            WHERE s.zone_id <> v_to.id AND (v_from.id IS NULL$$,
    $$            CROSS JOIN LATERAL (SELECT stays_because_v1(s, v_to) AS stays_because) b
            WHERE s.zone_id <> v_to.id AND (v_from.id IS NULL$$);
SELECT amend_v1('reassign_v1', $$'sessions', jsonb_array_length(v_sessions),
            -- Those$$, $$'sessions', v_offered,
            -- Those$$);
SELECT amend_v1('reassign_v1', $$jsonb_array_length(v_people), jsonb_array_length(v_sessions), p_by);$$,
    $$jsonb_array_length(v_people), v_offered, p_by);$$);
SELECT amend_v1('reassign_v1', $$'sessions', jsonb_array_length(v_sessions)), p_address$$, $$'sessions', v_offered), p_address$$);
SELECT amend_v1('reassign_v1', $$FROM jsonb_array_elements(v_sessions) e) ORDER BY s.id FOR NO KEY UPDATE LOOP$$,
    $$FROM jsonb_array_elements(v_sessions) e
            WHERE e->>'stays_because' IS NULL) ORDER BY s.id FOR NO KEY UPDATE LOOP$$);

-- Who is told of a Web App node's public name is warned where all of a zone depends on that one.
SELECT amend_v1('node_view_v1', $$'address', n.address, $$,
    $$'address', n.address, 'public_address', nullif(n.public_address, ''), $$);

DROP FUNCTION amend_v1;
