-- Which zone a launch begins in, what the catalogue shows to whom, and the same asked beforehand: explanations.

-- What a signed-in page measured of the zones' entries, and what follows from it (shared/model/src/nearest.rs). As long as the login.
CREATE TABLE login_zones (
    token_hash   bytea PRIMARY KEY REFERENCES logins ON DELETE CASCADE,
    -- The nearest zone, as decided; it sticks.
    zone_id      uuid,
    -- The whole state of the decision.
    state        jsonb NOT NULL,
    -- Rises with each measurement.
    version      bigint NOT NULL DEFAULT 1,
    measured_at  timestamptz NOT NULL DEFAULT now()
);

-- What a login's page measured before, and the zones that count.
CREATE FUNCTION measured_v1(p_token bytea) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN u.id IS NULL THEN jsonb_build_object('outcome', 'unauthenticated')
        ELSE jsonb_build_object('outcome', 'ok', 'version', coalesce(l.version, 0), 'state', coalesce(l.state, '{}'), 'zones', (
            SELECT coalesce(jsonb_agg(jsonb_build_object('id', z.id, 'name', z.name, 'eligible',
                (p.allowed = '[]' OR p.allowed ? z.id::text) AND EXISTS (SELECT 1 FROM nodes n WHERE n.zone_id = z.id
                    AND n.role = 'agent' AND n.removed_at IS NULL AND NOT n.draining AND node_is_reachable_v1(n.last_seen_at)))), '[]')
            FROM zones z)) END
    FROM (SELECT 1) one
    LEFT JOIN caller_v1(p_token) u ON true
    LEFT JOIN login_zones l ON l.token_hash = p_token
    LEFT JOIN LATERAL (SELECT policy_v1(u)->'allowed_zones' AS allowed) p ON u.id IS NOT NULL
$$;

-- A URL's host, or nothing.
CREATE FUNCTION host_of_v1(p_url text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT lower(substring(p_url FROM '^(?:[a-z]+://)?([^/:]+)'))
$$;

-- Where a launch begins, and why, in words for its user: what was asked for; else, of the zones that policy allows and that offer the
-- workspace, the home zone, the one of the host name asked for, the nearest by measurement, the answering node's own, the first.
-- p_context: {"host", "node_zone"}.
CREATE FUNCTION choose_zone_v1(
    p_token bytea, p_zone text, w workspaces, p_policy jsonb, p_context jsonb, OUT chosen zones, OUT because text, OUT distances jsonb
) LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_login login_zones;
    v_id uuid;
BEGIN
    SELECT * INTO v_login FROM login_zones WHERE token_hash = p_token;
    distances := v_login.state->'round_trips_ms';
    IF p_zone IS NOT NULL THEN
        SELECT * INTO chosen FROM zones WHERE name = p_zone;
        because := 'you chose it';
        RETURN;
    END IF;
    SELECT t.id, (ARRAY['it is your home zone', 'the address you came by belongs to it', 'it is the nearest to you, as measured',
            'the Web App node that answered belongs to it', 'it is the first of the zones that you may use'])[t.turn]
        INTO v_id, because
        FROM (
            SELECT h.id, h.position, h.may, CASE
                WHEN h.id::text = p_policy->>'home_zone' THEN 1
                -- A host name that several zones share says nothing.
                WHEN h.host AND h.hosts = 1 THEN 2
                WHEN h.id = v_login.zone_id THEN 3
                WHEN h.name = p_context->>'node_zone' THEN 4
                ELSE 5 END AS turn
            FROM (SELECT m.*, count(*) FILTER (WHERE m.host) OVER () AS hosts FROM (
                SELECT z.id, z.name, z.position,
                    coalesce(p_context->>'host' IN (host_of_v1(z.settings->>'proxy_hostname'),
                        host_of_v1(z.settings->>'allow_origin_domain')), false) AS host,
                    (p_policy->'allowed_zones' = '[]' OR p_policy->'allowed_zones' ? z.id::text)
                        AND z.id = ANY (coalesce(w.zones, ARRAY[z.id])) AS may
                FROM zones z) m) h) t
        -- Where no zone is allowed and offers the workspace, the explanation shall still begin somewhere.
        ORDER BY t.may DESC, t.turn, t.position LIMIT 1;
    SELECT * INTO chosen FROM zones WHERE id = v_id;
END
$$;

-- Why a workspace is not in somebody's catalogue, in words; null when it is. With a zone: why not there.
CREATE FUNCTION hidden_because_v1(p_user uuid, w workspaces, p_policy jsonb, p_zone uuid) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_allowed jsonb := p_policy->'allowed_zones';
    v_names text;
BEGIN
    IF w.deleted_at IS NOT NULL THEN
        RETURN 'it was taken out of the catalogue';
    END IF;
    IF w.groups IS NOT NULL AND NOT workspace_is_for_v1(p_user, w.groups) THEN
        SELECT string_agg(g.name, ', ' ORDER BY lower(g.name)) INTO v_names FROM groups g WHERE g.id = ANY (w.groups);
        RETURN coalesce('it is for members of ' || v_names, 'the groups it was for do not exist any more');
    END IF;
    IF (p_policy->>'max_cpu')::numeric > 0 AND w.cpu_milli > (p_policy->>'max_cpu')::numeric * 1000 THEN
        RETURN 'it takes ' || trim_scale(w.cpu_milli / 1000.0) || ' cores, and policy allows ' || (p_policy->>'max_cpu');
    END IF;
    IF (p_policy->>'max_memory_mb')::bigint > 0 AND w.memory_mb > (p_policy->>'max_memory_mb')::bigint THEN
        RETURN 'it takes ' || w.memory_mb || ' MB of memory, and policy allows ' || (p_policy->>'max_memory_mb');
    END IF;
    IF network_freedom_v1(w.network) > network_freedom_v1(p_policy->>'network') THEN
        RETURN 'its network mode is ' || w.network || ', and policy allows ' || (p_policy->>'network');
    END IF;
    IF w.zones = '{}' THEN
        RETURN 'no zone is left that offers it';
    END IF;
    IF p_zone IS NULL AND (w.zones IS NOT NULL OR v_allowed <> '[]') AND NOT EXISTS (SELECT 1 FROM zones z
        WHERE z.id = ANY (coalesce(w.zones, ARRAY[z.id])) AND (v_allowed = '[]' OR v_allowed ? z.id::text)) THEN
        RETURN 'policy allows none of the zones that offer it';
    END IF;
    IF p_zone IS NOT NULL THEN
        SELECT CASE WHEN bool_or(t.barrier IS NULL) THEN NULL ELSE
            (array_agg(t.name || ': ' || t.barrier ORDER BY t.turn))[1] END INTO v_names
            FROM zones z CROSS JOIN LATERAL tried_zones_v1(z, w, v_allowed) t WHERE z.id = p_zone;
        RETURN v_names;
    END IF;
    RETURN NULL;
END
$$;

-- The catalogue for whoever holds the token, as launched from a zone if one is named; all of it for administrators who ask.
CREATE FUNCTION list_workspaces_v2(p_token bytea, p_zone text, p_all boolean) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_caller record;
    v_user users;
    v_policy jsonb;
    v_zone uuid;
BEGIN
    SELECT * INTO v_caller FROM caller_v2(p_token);
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated');
    END IF;
    IF NOT (CASE WHEN p_all THEN 'workspaces:view' = ANY (v_caller.permissions) ELSE v_caller.own END) THEN
        RETURN jsonb_build_object('outcome', 'forbidden');
    END IF;
    SELECT * INTO v_user FROM users WHERE id = v_caller.id;
    IF p_zone IS NOT NULL THEN
        SELECT id INTO v_zone FROM zones WHERE name = p_zone;
        IF NOT FOUND THEN
            RETURN jsonb_build_object('outcome', 'no_zone');
        END IF;
    END IF;
    SELECT jsonb_object_agg(p.setting, p.value) INTO v_policy FROM policy_rows_v1(v_user) p;
    RETURN jsonb_build_object('outcome', 'ok', 'items', (
        SELECT coalesce(jsonb_agg(workspace_view_v1(w) ORDER BY w.created_at, w.name), '[]') FROM workspaces w
        WHERE w.deleted_at IS NULL AND (p_all OR hidden_because_v1(v_user.id, w, v_policy, v_zone) IS NULL)));
END
$$;

-- What would become of a launch, asked beforehand and as of now; nothing is reserved. Candidates come page by page.
CREATE FUNCTION explain_v1(p_user uuid, p_workspace text, p_zone text, p_context jsonb, p_after bigint, p_limit integer)
RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_user users;
    w workspaces;
    v_policy jsonb;
    v_choice record;
    v_zones jsonb;
    v_counts jsonb;
    v_candidates jsonb;
BEGIN
    SELECT * INTO v_user FROM users WHERE id = p_user;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'no_user');
    END IF;
    SELECT * INTO w FROM workspaces WHERE name = p_workspace OR id::text = p_workspace ORDER BY deleted_at NULLS FIRST LIMIT 1;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'no_workspace');
    END IF;
    v_policy := policy_v1(v_user);
    v_choice := choose_zone_v1(''::bytea, p_zone, w, v_policy, p_context);
    IF (v_choice.chosen).id IS NULL THEN
        RETURN jsonb_build_object('outcome', 'no_zone');
    END IF;
    SELECT coalesce(jsonb_agg(jsonb_build_object('zone', t.name, 'verdict', coalesce(t.barrier, 'asked')) ORDER BY t.turn), '[]')
        INTO v_zones FROM tried_zones_v1(v_choice.chosen, w, v_policy->'allowed_zones') t;
    WITH judged AS MATERIALIZED (
        SELECT t.name AS zone, c.name, c.reason, c.verdict,
            row_number() OVER (ORDER BY t.turn, c.comes_and_goes, c.rank, c.id) AS place
        FROM tried_zones_v1(v_choice.chosen, w, v_policy->'allowed_zones') t
        CROSS JOIN LATERAL candidates_v1(t.id, t.settings->>'load_strategy', (t.settings->>'prioritize_static_agents')::boolean, t.labels,
            w.network, w.required_labels, w.gpu, w.image, w.cpu_milli, w.memory_mb) c
        WHERE t.barrier IS NULL)
    SELECT (SELECT coalesce(jsonb_object_agg(r.reason, r.number), '{}')
            FROM (SELECT j.reason, count(*) AS number FROM judged j GROUP BY j.reason) r),
        (SELECT coalesce(jsonb_agg(jsonb_build_object('zone', j.zone, 'agent', j.name, 'verdict', j.verdict) ORDER BY j.place), '[]')
            FROM judged j WHERE j.place > p_after AND j.place <= p_after + p_limit)
        INTO v_counts, v_candidates;
    RETURN jsonb_build_object('outcome', 'ok', 'user', v_user.name, 'workspace', w.name,
        'hidden_because', hidden_because_v1(v_user.id, w, v_policy, CASE WHEN p_zone IS NOT NULL THEN (v_choice.chosen).id END),
        'refusal', may_launch_v1(v_user, w, v_policy),
        'choice', jsonb_build_object('zone', (v_choice.chosen).name, 'because', v_choice.because),
        'zones', v_zones, 'counts', v_counts, 'candidates', v_candidates,
        'more', p_after + p_limit < (SELECT coalesce(sum(value::bigint), 0) FROM jsonb_each_text(v_counts)));
END
$$;

CREATE OR REPLACE FUNCTION session_view_v1(s sessions) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'id', s.id, 'name', w.name,
        'workspace', jsonb_build_object('id', w.id, 'name', w.name, 'icon', w.icon),
        'user', jsonb_build_object('id', u.id, 'name', u.name),
        'zone', z.name, 'agent', n.name, 'state', s.state,
        'progress', jsonb_build_object('step', s.progress_step, 'message', s.progress_message, 'percent', s.progress_percent),
        'reason', s.reason, 'choice', s.explanation->'choice',
        'created_at', s.created_at, 'started_at', s.started_at, 'ended_at', s.ended_at)
    FROM workspaces w, users u, zones z, nodes n
    WHERE w.id = s.workspace_id AND u.id = s.user_id AND z.id = s.zone_id AND n.id = s.node_id
$$;

-- p_context is what the Web App node knows of the request besides.
CREATE OR REPLACE FUNCTION launch_v2(
    p_token bytea, p_session uuid, p_workspace uuid, p_zone text, p_key text, p_address text, p_request text, p_context jsonb
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_user users;
    v_known sessions;
    v_workspace workspaces;
    v_zone zones;
    v_placed record;
    v_session sessions;
    v_policy jsonb;
    v_choice record;
    v_chosen jsonb;
    v_refusal jsonb;
    v_outcome text;
BEGIN
    SELECT * INTO v_user FROM caller_v1(p_token);
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated');
    END IF;
    -- From here on this user's launches are one after the other, so a key is never used twice.
    SELECT * INTO v_user FROM users WHERE id = v_user.id FOR NO KEY UPDATE;
    IF v_user.disabled_at IS NOT NULL THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated'); -- Disabled while this waited.
    END IF;
    SELECT * INTO v_known FROM sessions WHERE user_id = v_user.id AND idempotency_key = p_key;
    IF FOUND THEN
        IF v_known.workspace_id <> p_workspace OR v_known.requested_zone IS DISTINCT FROM p_zone THEN
            RETURN jsonb_build_object('outcome', 'key_reused');
        END IF;
        RETURN jsonb_build_object('outcome', 'ok', 'replayed', true, 'push', push_view_v1(v_known),
            'session', session_view_v1(v_known));
    END IF;
    SELECT * INTO v_workspace FROM workspaces WHERE id = p_workspace AND deleted_at IS NULL;
    -- What is for others looks exactly like what does not exist.
    IF NOT FOUND OR NOT (v_workspace.groups IS NULL OR workspace_is_for_v1(v_user.id, v_workspace.groups)) THEN
        RETURN jsonb_build_object('outcome', 'no_workspace');
    END IF;
    -- As policy_v1 does; written out, it is planned with the rest, once for a connection.
    SELECT jsonb_object_agg(p.setting, p.value) INTO v_policy FROM policy_rows_v1(v_user) p;
    v_choice := choose_zone_v1(p_token, p_zone, v_workspace, v_policy, p_context);
    v_zone := v_choice.chosen;
    IF v_zone.id IS NULL THEN
        RETURN jsonb_build_object('outcome', 'no_zone');
    END IF;
    v_refusal := may_launch_v1(v_user, v_workspace, v_policy);
    IF v_refusal IS NULL AND p_zone IS NOT NULL AND v_policy->'zone_choice' = 'false' AND v_policy->>'home_zone' <> v_zone.id::text THEN
        v_refusal := jsonb_build_object('outcome', 'policy', 'setting', 'zone_choice', 'allowed', 'false');
    END IF;
    IF v_refusal IS NOT NULL THEN
        INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
            VALUES (v_user.id, 'launch', v_workspace.name, v_refusal->>'outcome', v_refusal || jsonb_build_object('zone', v_zone.name),
                p_address, p_request);
        RETURN v_refusal;
    END IF;

    v_placed := place_v1(v_zone, v_workspace, v_policy->'allowed_zones');
    -- Where it was meant to run, why, and if it runs elsewhere, why that, with the distance as the user's page measured it.
    v_chosen := jsonb_build_object('zone', v_zone.name, 'because', v_choice.because,
        'elsewhere_because', CASE WHEN (v_placed.chosen).zone_id <> v_zone.id THEN v_placed.explanation->'zones'->0->'verdict' END,
        'distance_ms', v_choice.distances->coalesce((v_placed.chosen).zone_id, v_zone.id)::text,
        'meant_distance_ms', v_choice.distances->v_zone.id::text);
    v_placed.explanation := v_placed.explanation || jsonb_build_object('choice', v_chosen);
    IF (v_placed.chosen).id IS NULL THEN
        -- Where not one candidate was asked because a rule kept each zone out, it is the rule that refuses.
        v_outcome := CASE WHEN NOT EXISTS (SELECT 1 FROM tried_zones_v1(v_zone, v_workspace, v_policy->'allowed_zones') t
            WHERE t.barrier IS NULL) THEN 'not_offered' ELSE 'capacity' END;
        INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
            VALUES (v_user.id, 'launch', v_workspace.name, v_outcome, v_placed.explanation || jsonb_build_object('zone', v_zone.name),
                p_address, p_request);
        RETURN jsonb_build_object('outcome', v_outcome, 'zone', v_zone.name, 'isolated', (v_zone.settings->>'isolated')::boolean,
            'explanation', v_placed.explanation->'candidates', 'counts', v_placed.explanation->'counts',
            'zones', v_placed.explanation->'zones');
    END IF;

    UPDATE users SET sessions_used = sessions_used + 1 WHERE id = v_user.id;
    INSERT INTO sessions (id, user_id, workspace_id, zone_id, node_id, state, desired, epoch, desired_version,
            cpu_milli, memory_mb, gpus, spec, idempotency_key, requested_zone, progress_message, explanation)
        SELECT p_session, v_user.id, v_workspace.id, (v_placed.chosen).zone_id, (v_placed.chosen).id, 'starting', 'run', d.control_epoch,
            (v_placed.chosen).desired_version, v_workspace.cpu_milli, v_workspace.memory_mb, v_workspace.gpu, spec_v1(v_workspace),
            p_key, p_zone, 'A place on ' || (v_placed.chosen).name || ' is reserved', v_placed.explanation
        FROM deployment d
        RETURNING * INTO v_session;
    INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
        VALUES (v_user.id, 'launch', p_session::text, 'ok', jsonb_build_object('workspace', v_workspace.name,
            'zone', v_placed.explanation->'chosen'->'zone', 'agent', (v_placed.chosen).name), p_address, p_request);
    PERFORM announce_v1((v_placed.chosen).id, p_session);
    RETURN jsonb_build_object('outcome', 'ok', 'replayed', false, 'push', push_view_v1(v_session),
        'session', session_view_v1(v_session));
END
$$;
