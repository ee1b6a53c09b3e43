-- Placement since: a workspace may wait for its image, on an agent that does not have it yet.

-- A zone's agents, judged for a workspace: each with the first reason against it, or `fits`, and what it is ordered by. With p_waits an agent
-- without the image fits too, after all that have it (loads_first is 1), and last those that failed to load it the last time (2).
CREATE FUNCTION candidates_v2(p_zone uuid, p_strategy text, p_static_first boolean, p_labels jsonb,
    p_network text, p_required jsonb, p_gpu bigint, p_image text, p_cpu bigint, p_memory bigint, p_waits boolean)
RETURNS TABLE (id uuid, name text, loads_first integer, comes_and_goes boolean, rank bigint, reason text, verdict text) LANGUAGE sql STABLE AS $$
    SELECT n.id, n.name, CASE j.reason WHEN 'fits, without its image' THEN 1 WHEN 'fits, but failed to load its image' THEN 2 ELSE 0 END,
        p_static_first AND NOT n.is_static,
        CASE p_strategy
            WHEN 'least_sessions' THEN n.sessions_used
            WHEN 'most_sessions' THEN -n.sessions_used
            WHEN 'round_robin' THEN n.last_placed
            ELSE CASE p_strategy WHEN 'most_load' THEN -1 ELSE 1 END * greatest(
                CASE WHEN n.cpu_capacity > 0 THEN n.cpu_used * 1000000 / n.cpu_capacity ELSE 1000000 END,
                CASE WHEN n.memory_capacity > 0 THEN n.memory_used * 1000000 / n.memory_capacity ELSE 1000000 END) END,
        j.reason,
        CASE j.reason
            WHEN 'network mode not offered' THEN 'network mode ' || p_network || ' is not offered'
            WHEN 'label missing' THEN 'label ' || (
                SELECT r.key || '=' || r.value FROM jsonb_each_text(p_required) r
                WHERE (p_labels || n.labels)->>r.key IS DISTINCT FROM r.value ORDER BY r.key COLLATE "C" LIMIT 1) || ' is missing'
            WHEN 'too few graphics cards free' THEN n.gpus_used + p_gpu - n.gpu_capacity || ' of its graphics cards short'
            WHEN 'too little CPU free' THEN trim_scale((n.cpu_used + p_cpu - n.cpu_capacity) / 1000.0) || ' core short'
            WHEN 'too little memory free' THEN n.memory_used + p_memory - n.memory_capacity || ' MB memory short'
            WHEN 'as many sessions as allowed' THEN n.session_limit || ' sessions, which is as many as it may have'
            WHEN 'fits, without its image' THEN 'fits, and would load the image first'
            WHEN 'fits, but failed to load its image' THEN 'fits, and would load the image first, which failed the last time'
            ELSE j.reason END
    FROM nodes n
    CROSS JOIN LATERAL (SELECT CASE
        WHEN NOT node_is_reachable_v1(n.last_seen_at) THEN 'unreachable'
        WHEN n.draining THEN 'draining'
        -- Only what it wrote down does an agent carry out.
        WHEN NOT n.takes_writes THEN 'its disk takes no writes'
        WHEN p_network <> 'none' AND NOT n.networks ? p_network THEN 'network mode not offered'
        WHEN p_required <> '{}' AND NOT (p_labels || n.labels) @> p_required THEN 'label missing'
        WHEN p_gpu > n.gpu_capacity THEN 'no graphics card'
        WHEN NOT p_waits AND NOT EXISTS (SELECT 1 FROM node_images i WHERE i.node_id = n.id AND i.reference = p_image) THEN 'no image yet'
        WHEN n.gpus_used + p_gpu > n.gpu_capacity AND p_gpu > 0 THEN 'too few graphics cards free'
        WHEN n.cpu_used + p_cpu > n.cpu_capacity THEN 'too little CPU free'
        WHEN n.memory_used + p_memory > n.memory_capacity THEN 'too little memory free'
        WHEN n.sessions_used >= n.session_limit THEN 'as many sessions as allowed'
        WHEN p_waits AND NOT EXISTS (SELECT 1 FROM node_images i WHERE i.node_id = n.id AND i.reference = p_image)
            THEN CASE WHEN EXISTS (SELECT 1 FROM image_standings k WHERE k.node_id = n.id AND k.reference = p_image COLLATE "C"
                AND k.standing->>'state' = 'failed') THEN 'fits, but failed to load its image' ELSE 'fits, without its image' END
        ELSE 'fits' END AS reason OFFSET 0) j
    WHERE n.zone_id = p_zone AND n.role = 'agent' AND n.removed_at IS NULL
$$;

-- Finds an agent for a workspace, beginning in `z`, and takes the place. The explanation has the zones that were asked, the counts per
-- reason, and the first twenty candidates in words.
CREATE OR REPLACE FUNCTION place_v1(z zones, w workspaces, p_allowed jsonb, OUT chosen nodes, OUT explanation jsonb) LANGUAGE plpgsql AS $$
DECLARE
    v_try record;
    v_counts jsonb;
    v_first jsonb;
    v_fits uuid[];
    v_reasons text[];
    v_verdict text;
    v_reason text;
    v_words text;
    v_zones jsonb := '[]';
    v_all_counts jsonb := '{}';
    v_all_first jsonb := '[]';
BEGIN
    FOR v_try IN SELECT * FROM tried_zones_v1(z, w, p_allowed) t ORDER BY t.turn LOOP
        v_verdict := v_try.barrier;
        IF v_verdict IS NULL THEN
            -- Each turn sees what was taken meanwhile, and each place that was lost went to another launch: this ends. The bound is
            -- for errors of ours.
            FOR turn IN 1..1000 LOOP
                WITH judged AS MATERIALIZED (
                    SELECT c.id, c.name, c.reason, c.verdict,
                        row_number() OVER (ORDER BY c.loads_first, c.comes_and_goes, c.rank, c.id) AS place
                    FROM candidates_v2(v_try.id, v_try.settings->>'load_strategy',
                        (v_try.settings->>'prioritize_static_agents')::boolean, v_try.labels,
                        w.network, w.required_labels, w.gpu, w.image, w.cpu_milli, w.memory_mb, waits_for_image_v1(w, v_try.settings)) c)
                SELECT
                    (SELECT coalesce(jsonb_object_agg(r.reason, r.number), '{}')
                        FROM (SELECT j.reason, count(*) AS number FROM judged j GROUP BY j.reason) r),
                    (SELECT coalesce(jsonb_agg(jsonb_build_object('zone', v_try.name, 'agent', j.name, 'verdict', j.verdict)
                            ORDER BY j.place), '[]') FROM judged j WHERE j.place <= 20),
                    ARRAY(SELECT j.id FROM judged j WHERE starts_with(j.reason, 'fits') ORDER BY j.place LIMIT 8),
                    ARRAY(SELECT j.reason FROM judged j WHERE starts_with(j.reason, 'fits') ORDER BY j.place LIMIT 8)
                    INTO v_counts, v_first, v_fits, v_reasons;
                FOR i IN 1..cardinality(v_fits) LOOP
                    chosen := reserve_v1(v_fits[i], w);
                    v_reason := v_reasons[i];
                    EXIT WHEN chosen.id IS NOT NULL;
                END LOOP;
                EXIT WHEN chosen.id IS NOT NULL OR v_fits = '{}';
            END LOOP;
            IF chosen.id IS NOT NULL THEN
                v_verdict := 'chosen';
                v_words := CASE v_reason WHEN 'fits' THEN 'chosen'
                    WHEN 'fits, but failed to load its image' THEN 'chosen; it loads the image first, which failed the last time'
                    ELSE 'chosen; it loads the image first' END;
                v_counts := v_counts || '{"chosen": 1}' || jsonb_build_object(v_reason, (v_counts->>v_reason)::bigint - 1);
                IF v_counts->>v_reason = '0' THEN
                    v_counts := v_counts - v_reason;
                END IF;
                v_first := (
                    SELECT coalesce(jsonb_agg(CASE WHEN f.c->>'agent' = chosen.name THEN f.c || jsonb_build_object('verdict', v_words)
                        ELSE f.c END
                        ORDER BY f.place), '[]')
                    FROM jsonb_array_elements(v_first) WITH ORDINALITY f(c, place));
            ELSE
                v_verdict := CASE WHEN v_counts = '{}' THEN 'it has no agents' ELSE 'none of its agents fits' END;
            END IF;
            IF v_all_counts = '{}' THEN
                v_all_counts := v_counts;
            ELSE
                SELECT coalesce(jsonb_object_agg(c.key, c.number), '{}') INTO v_all_counts FROM (
                    SELECT e.key, sum(e.value::bigint) AS number FROM (
                        SELECT * FROM jsonb_each_text(v_all_counts) UNION ALL SELECT * FROM jsonb_each_text(v_counts)) e GROUP BY e.key) c;
            END IF;
            IF jsonb_array_length(v_all_first) < 20 THEN
                v_all_first := v_all_first || jsonb_path_query_array(v_first, '$[0 to $last]',
                    jsonb_build_object('last', 19 - jsonb_array_length(v_all_first)));
            END IF;
            -- Whoever asks about a launch asks about the chosen one first: it is always among those in words.
            IF chosen.id IS NOT NULL AND NOT v_all_first @> jsonb_build_array(jsonb_build_object('agent', chosen.name)) THEN
                v_all_first := v_all_first || jsonb_build_object('zone', v_try.name, 'agent', chosen.name, 'verdict', v_words);
            END IF;
        END IF;
        IF jsonb_array_length(v_zones) < 20 OR chosen.id IS NOT NULL THEN
            v_zones := v_zones || jsonb_build_object('zone', v_try.name, 'verdict', v_verdict);
        END IF;
        EXIT WHEN chosen.id IS NOT NULL;
    END LOOP;
    explanation := jsonb_build_object('counts', v_all_counts, 'candidates', v_all_first, 'zones', v_zones, 'chosen',
        CASE WHEN chosen.id IS NOT NULL THEN jsonb_build_object('zone', v_try.name, 'agent', chosen.name) END);
END
$$;

-- What keeps a zone's agents as a whole from taking a workspace now, in words; null: one of them has room.
CREATE FUNCTION zone_lacks_v1(p_zone uuid, w workspaces) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN EXISTS (SELECT 1 FROM nodes n WHERE n.zone_id = p_zone AND n.role = 'agent' AND n.removed_at IS NULL
            AND node_is_reachable_v1(n.last_seen_at) AND NOT n.draining AND n.takes_writes
            AND n.cpu_used + w.cpu_milli <= n.cpu_capacity AND n.memory_used + w.memory_mb <= n.memory_capacity
            AND (w.gpu = 0 OR n.gpus_used + w.gpu <= n.gpu_capacity)
            AND (n.session_limit IS NULL OR n.sessions_used < n.session_limit)) THEN NULL
        WHEN NOT EXISTS (SELECT 1 FROM nodes n WHERE n.zone_id = p_zone AND n.role = 'agent' AND n.removed_at IS NULL)
            THEN 'it has no agents'
        WHEN NOT EXISTS (SELECT 1 FROM nodes n WHERE n.zone_id = p_zone AND n.role = 'agent' AND n.removed_at IS NULL
            AND node_is_reachable_v1(n.last_seen_at)) THEN 'none of its agents answers'
        WHEN NOT EXISTS (SELECT 1 FROM nodes n WHERE n.zone_id = p_zone AND n.role = 'agent' AND n.removed_at IS NULL
            AND node_is_reachable_v1(n.last_seen_at) AND NOT n.draining) THEN 'its agents are being drained'
        ELSE 'it is full' END
$$;

-- Where a launch begins, and why, in words for its user: what was asked for; else, of the zones that policy allows and that offer the
-- workspace, the home zone, the one of the host name asked for, the nearest by measurement, the answering node's own, the first. The nearest
-- stays who it is, but a launch that it has no room for begins in the next nearest that has some; an isolated zone neither lends nor borrows.
-- p_context: {"host", "node_zone"}.
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
            'the Web App node that answered belongs to it', 'it is the first of the zones that you may use'])[t.turn]
        INTO v_id, v_turn, because
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

-- What would become of a launch, asked beforehand and as of now; nothing is reserved. Candidates come page by page.
CREATE OR REPLACE FUNCTION explain_v1(p_user uuid, p_workspace text, p_zone text, p_context jsonb, p_after bigint, p_limit integer)
RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_user users;
    w workspaces;
    v_policy jsonb;
    v_choice record;
    v_zone zones;
    v_zones jsonb;
    v_counts jsonb;
    v_candidates jsonb;
    v_keeps boolean;
    v_home homes;
    v_refusal jsonb;
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
    v_zone := v_choice.chosen;
    IF v_zone.id IS NULL THEN
        RETURN jsonb_build_object('outcome', 'no_zone');
    END IF;
    v_refusal := may_launch_v1(v_user, w, v_policy);
    v_keeps := coalesce((v_policy->>'persistent_home')::boolean, false);
    IF v_keeps THEN
        SELECT * INTO v_home FROM homes WHERE user_id = v_user.id AND workspace_id = w.id AND reset_at IS NULL;
        IF FOUND THEN
            v_refusal := coalesce(v_refusal, home_refusal_v1(v_home, p_zone));
            -- Where it would run, if that were not in the way.
            SELECT * INTO v_zone FROM zones WHERE id = v_home.zone_id;
            IF FOUND THEN
                v_choice.because := 'your home of this workspace is there';
            ELSE
                v_zone := v_choice.chosen;
            END IF;
        END IF;
    END IF;
    SELECT coalesce(jsonb_agg(jsonb_build_object('zone', t.name, 'verdict', coalesce(t.barrier, 'asked')) ORDER BY t.turn), '[]')
        INTO v_zones FROM tried_zones_v1(v_zone, w, v_policy->'allowed_zones') t;
    WITH judged AS MATERIALIZED (
        SELECT t.name AS zone, c.name, r.reason, CASE WHEN r.reason = c.reason THEN c.verdict ELSE r.reason END AS verdict,
            row_number() OVER (ORDER BY t.turn, (v_home.storage IS NULL AND c.id = v_home.node_id) IS NOT TRUE, c.loads_first, c.comes_and_goes, c.rank, c.id) AS place
        FROM tried_zones_v1(v_zone, w, v_policy->'allowed_zones') t
        CROSS JOIN LATERAL candidates_v2(t.id, t.settings->>'load_strategy', (t.settings->>'prioritize_static_agents')::boolean, t.labels,
            w.network, w.required_labels, w.gpu, w.image, w.cpu_milli, w.memory_mb, waits_for_image_v1(w, t.settings)) c
        JOIN nodes n ON n.id = c.id
        CROSS JOIN LATERAL (SELECT coalesce(CASE WHEN v_keeps THEN home_barrier_v1(c.id, n.report, v_home, t.id, t.settings->>'home_storage') END, c.reason) AS reason) r
        WHERE t.barrier IS NULL)
    SELECT (SELECT coalesce(jsonb_object_agg(r.reason, r.number), '{}')
            FROM (SELECT j.reason, count(*) AS number FROM judged j GROUP BY j.reason) r),
        (SELECT coalesce(jsonb_agg(jsonb_build_object('zone', j.zone, 'agent', j.name, 'verdict', j.verdict) ORDER BY j.place), '[]')
            FROM judged j WHERE j.place > p_after AND j.place <= p_after + p_limit)
        INTO v_counts, v_candidates;
    RETURN jsonb_build_object('outcome', 'ok', 'user', v_user.name, 'workspace', w.name,
        'hidden_because', hidden_because_v1(v_user.id, w, v_policy, CASE WHEN p_zone IS NOT NULL THEN (v_choice.chosen).id END),
        'refusal', v_refusal,
        'choice', jsonb_build_object('zone', v_zone.name, 'because', v_choice.because),
        'keeps_home', v_keeps, 'home', CASE WHEN v_home.id IS NOT NULL THEN home_view_v1(v_home) END,
        'zones', v_zones, 'counts', v_counts, 'candidates', v_candidates,
        'more', p_after + p_limit < (SELECT coalesce(sum(value::bigint), 0) FROM jsonb_each_text(v_counts)));
END
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
    v_home homes;
    v_keeps boolean;
    v_zones uuid[];
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
        IF v_known.workspace_id <> p_workspace OR v_known.requested_zone IS DISTINCT FROM p_zone
            OR NOT reaches_v1(p_token, v_known.zone_id) THEN
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
    -- An API key that is bound to zones launches in those alone, as far as policy allows them; where none is left, nowhere.
    SELECT k.zones INTO v_zones FROM api_keys k WHERE k.token_hash = p_token;
    IF v_zones IS NOT NULL THEN
        v_policy := v_policy || jsonb_build_object('allowed_zones', (SELECT coalesce(jsonb_agg(z), '["none"]') FROM unnest(v_zones) z
            WHERE v_policy->'allowed_zones' = '[]' OR v_policy->'allowed_zones' ? z::text));
    END IF;
    v_choice := choose_zone_v1(p_token, p_zone, v_workspace, v_policy, p_context);
    v_zone := v_choice.chosen;
    IF v_zone.id IS NULL THEN
        RETURN jsonb_build_object('outcome', 'no_zone');
    END IF;
    v_refusal := may_launch_v1(v_user, v_workspace, v_policy);
    IF v_refusal IS NULL AND p_zone IS NOT NULL AND v_policy->'zone_choice' = 'false' AND v_policy->>'home_zone' <> v_zone.id::text THEN
        v_refusal := jsonb_build_object('outcome', 'policy', 'setting', 'zone_choice', 'allowed', 'false');
    END IF;
    -- A home that outlives its sessions decides where its workspace runs; whoever does without it this time says so.
    v_keeps := (v_policy->>'persistent_home')::boolean AND coalesce(p_context->>'home', 'persistent') <> 'temporary';
    IF v_refusal IS NULL AND v_keeps THEN
        SELECT * INTO v_home FROM homes WHERE user_id = v_user.id AND workspace_id = v_workspace.id AND reset_at IS NULL;
        IF FOUND THEN
            v_refusal := home_refusal_v1(v_home, p_zone);
            IF v_refusal IS NULL THEN
                SELECT * INTO v_zone FROM zones WHERE id = v_home.zone_id;
                v_choice.because := 'your home of this workspace is there';
            ELSIF NOT coalesce(p_context ? 'home', false) THEN
                -- A node of the release before has no other words for it.
                v_refusal := jsonb_build_object('outcome', 'not_offered', 'zone', v_zone.name, 'zones', jsonb_build_array(
                    jsonb_build_object('zone', v_zone.name, 'verdict', v_refusal->>'words')));
            END IF;
        END IF;
    END IF;
    IF v_refusal IS NOT NULL THEN
        INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
            VALUES (v_user.id, 'launch', v_workspace.name, v_refusal->>'outcome', v_refusal || jsonb_build_object('zone', v_zone.name),
                p_address, p_request);
        RETURN v_refusal;
    END IF;

    IF v_keeps THEN
        v_placed := place_for_home_v1(v_zone, v_workspace, v_policy->'allowed_zones', v_home);
    ELSE
        v_placed := place_v1(v_zone, v_workspace, v_policy->'allowed_zones');
    END IF;
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
    IF v_keeps THEN
        v_chosen := claim_home_v1(p_session, v_home.id, v_workspace.home_mb);
        UPDATE sessions SET home_id = (v_chosen->>'id')::uuid, spec = spec || jsonb_build_object('home', v_chosen)
            WHERE id = p_session RETURNING * INTO v_session;
    END IF;
    INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
        VALUES (v_user.id, 'launch', p_session::text, 'ok', jsonb_build_object('workspace', v_workspace.name,
            'zone', v_placed.explanation->'chosen'->'zone', 'agent', (v_placed.chosen).name), p_address, p_request);
    PERFORM announce_v1((v_placed.chosen).id, p_session);
    RETURN jsonb_build_object('outcome', 'ok', 'replayed', false, 'push', push_view_v1(v_session),
        'session', session_view_v1(v_session));
END
$$;
