-- Placement since: a workspace may wait for its image, on an agent that does not have it yet.

-- A zone's agents, judged for a workspace: each with the first reason against it, or `fits`, and what it is ordered by. With p_waits an agent
-- without the image fits too, after all that have it.
CREATE FUNCTION candidates_v2(p_zone uuid, p_strategy text, p_static_first boolean, p_labels jsonb,
    p_network text, p_required jsonb, p_gpu bigint, p_image text, p_cpu bigint, p_memory bigint, p_waits boolean)
RETURNS TABLE (id uuid, name text, loads_first boolean, comes_and_goes boolean, rank bigint, reason text, verdict text) LANGUAGE sql STABLE AS $$
    SELECT n.id, n.name, j.reason = 'fits, without its image', p_static_first AND NOT n.is_static,
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
            THEN 'fits, without its image'
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
    v_id uuid;
    v_verdict text;
    v_loads boolean;
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
                        w.network, w.required_labels, w.gpu, w.image, w.cpu_milli, w.memory_mb, w.image_policy = 'wait') c)
                SELECT
                    (SELECT coalesce(jsonb_object_agg(r.reason, r.number), '{}')
                        FROM (SELECT j.reason, count(*) AS number FROM judged j GROUP BY j.reason) r),
                    (SELECT coalesce(jsonb_agg(jsonb_build_object('zone', v_try.name, 'agent', j.name, 'verdict', j.verdict)
                            ORDER BY j.place), '[]') FROM judged j WHERE j.place <= 20),
                    ARRAY(SELECT j.id FROM judged j WHERE j.reason IN ('fits', 'fits, without its image') ORDER BY j.place LIMIT 8)
                    INTO v_counts, v_first, v_fits;
                FOREACH v_id IN ARRAY v_fits LOOP
                    chosen := reserve_v1(v_id, w);
                    EXIT WHEN chosen.id IS NOT NULL;
                END LOOP;
                EXIT WHEN chosen.id IS NOT NULL OR v_fits = '{}';
            END LOOP;
            IF chosen.id IS NOT NULL THEN
                v_verdict := 'chosen';
                -- Those that have the image come first, so whoever was chosen without it was judged to be without it.
                v_loads := w.image_policy = 'wait' AND NOT EXISTS (
                    SELECT 1 FROM node_images i WHERE i.node_id = chosen.id AND i.reference = w.image);
                v_reason := CASE WHEN v_loads AND v_counts ? 'fits, without its image' OR NOT v_counts ? 'fits'
                    THEN 'fits, without its image' ELSE 'fits' END;
                v_words := CASE WHEN v_loads THEN 'chosen; it loads the image first' ELSE 'chosen' END;
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

-- What would become of a launch, asked beforehand and as of now; nothing is reserved. Candidates come page by page.
CREATE OR REPLACE FUNCTION explain_v1(p_user uuid, p_workspace text, p_zone text, p_context jsonb, p_after bigint, p_limit integer)
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
            row_number() OVER (ORDER BY t.turn, c.loads_first, c.comes_and_goes, c.rank, c.id) AS place
        FROM tried_zones_v1(v_choice.chosen, w, v_policy->'allowed_zones') t
        CROSS JOIN LATERAL candidates_v2(t.id, t.settings->>'load_strategy', (t.settings->>'prioritize_static_agents')::boolean, t.labels,
            w.network, w.required_labels, w.gpu, w.image, w.cpu_milli, w.memory_mb, w.image_policy = 'wait') c
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
