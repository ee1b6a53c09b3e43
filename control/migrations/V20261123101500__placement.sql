-- Placement: agents have labels, overrides and overcommit, graphics cards and session limits; workspaces ask for labels and zones; and a
-- launch judges a zone's agents as a set. The pure model of the decision is shared/model/src/placement.rs.

ALTER TABLE nodes
    -- False: it comes and goes with demand; where the zone says so, places on static agents are taken first.
    ADD COLUMN is_static boolean NOT NULL DEFAULT true,
    ADD COLUMN labels jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object'),
    -- What an administrator says in place of what the agent reports; none: as it reports.
    ADD COLUMN cpu_override bigint CHECK (cpu_override >= 0),
    ADD COLUMN memory_override bigint CHECK (memory_override >= 0),
    ADD COLUMN gpu_override bigint CHECK (gpu_override >= 0),
    -- How much of it is promised, in hundredths.
    ADD COLUMN cpu_overcommit integer NOT NULL DEFAULT 100 CHECK (cpu_overcommit BETWEEN 10 AND 10000),
    ADD COLUMN memory_overcommit integer NOT NULL DEFAULT 100 CHECK (memory_overcommit BETWEEN 10 AND 10000),
    -- Sessions at most; none: as many as its resources bear.
    ADD COLUMN session_limit bigint CHECK (session_limit >= 0),
    -- Counter column, as cpu_used is.
    ADD COLUMN gpus_used bigint NOT NULL DEFAULT 0 CHECK (gpus_used >= 0);

-- What candidates are judged by lies in plain columns: the report is read once, when it comes, not at each launch.
ALTER TABLE nodes
    ADD COLUMN cpu_capacity bigint GENERATED ALWAYS AS (coalesce(cpu_override, cpu_total) * cpu_overcommit / 100) STORED,
    ADD COLUMN memory_capacity bigint GENERATED ALWAYS AS (coalesce(memory_override, memory_total) * memory_overcommit / 100) STORED,
    ADD COLUMN gpu_capacity bigint GENERATED ALWAYS AS (coalesce(gpu_override, (report->>'gpus')::bigint, 0)) STORED,
    ADD COLUMN networks jsonb GENERATED ALWAYS AS (coalesce(report->'network_modes', '[]'::jsonb)) STORED,
    ADD COLUMN takes_writes boolean GENERATED ALWAYS AS (NOT problems @> '[{"code": "disk"}]'::jsonb) STORED;

-- A zone's agents are looked for by image, too.
CREATE INDEX node_images_reference ON node_images (reference, node_id);

ALTER TABLE workspaces
    -- Only agents with all of these labels run it.
    ADD COLUMN required_labels jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(required_labels) = 'object'),
    -- Only in these zones; none: in every zone; empty: nowhere, which is what is left when the last of them was deleted.
    ADD COLUMN zones uuid[],
    -- Only for members of these groups, alike.
    ADD COLUMN groups uuid[],
    -- Rises with each change.
    ADD COLUMN version bigint NOT NULL DEFAULT 1,
    -- Nobody launches it any more; sessions of it are still told by its name.
    ADD COLUMN deleted_at timestamptz;
ALTER TABLE workspaces DROP CONSTRAINT workspaces_name_key;
CREATE UNIQUE INDEX workspaces_name_key ON workspaces (name) WHERE deleted_at IS NULL;

-- What all agents of the zone have, unless one says otherwise.
ALTER TABLE zones ADD COLUMN labels jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object');

ALTER TABLE sessions ADD COLUMN gpus bigint NOT NULL DEFAULT 0;

-- Graphics cards are given back with the rest of a reservation, whichever release gives it back.
CREATE FUNCTION gpus_released_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE nodes SET gpus_used = greatest(gpus_used - OLD.gpus, 0) WHERE id = OLD.node_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER gpus_released AFTER UPDATE OF reserved ON sessions FOR EACH ROW
    WHEN (OLD.reserved AND NOT NEW.reserved AND OLD.gpus > 0) EXECUTE FUNCTION gpus_released_v1();

-- As audit_counters_v1, for the graphics cards.
CREATE FUNCTION audit_gpus_v1() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v_id uuid;
    v_used bigint;
    v_nodes integer := 0;
BEGIN
    FOR v_id IN
        SELECT n.id FROM nodes n
        LEFT JOIN (SELECT s.node_id, sum(s.gpus) AS used FROM sessions s WHERE s.reserved GROUP BY s.node_id) c ON c.node_id = n.id
        WHERE n.gpus_used <> coalesce(c.used, 0) ORDER BY n.id
    LOOP
        PERFORM 1 FROM nodes WHERE id = v_id FOR NO KEY UPDATE;
        SELECT coalesce(sum(gpus), 0) INTO v_used FROM sessions WHERE node_id = v_id AND reserved;
        UPDATE nodes SET gpus_used = v_used WHERE id = v_id AND gpus_used <> v_used;
        IF FOUND THEN
            v_nodes := v_nodes + 1;
        END IF;
    END LOOP;
    IF v_nodes > 0 THEN
        INSERT INTO audit (action, outcome, detail) VALUES ('audit_gpus', 'corrected', jsonb_build_object('nodes', v_nodes));
    END IF;
    RETURN v_nodes;
END
$$;

-- Launches that were refused, newest first.
CREATE INDEX audit_refusals ON audit (id) WHERE action = 'launch' AND outcome <> 'ok';

-- A zone's agents, judged for a workspace: each with the first reason against it, or `fits`, and what it is ordered by. One set, so that it
-- costs little more among a hundred than among ten; plain arguments, so that the query around it is planned with it, and once.
CREATE FUNCTION candidates_v1(p_zone uuid, p_strategy text, p_static_first boolean, p_labels jsonb,
    p_network text, p_required jsonb, p_gpu bigint, p_image text, p_cpu bigint, p_memory bigint)
RETURNS TABLE (id uuid, name text, comes_and_goes boolean, rank bigint, reason text, verdict text) LANGUAGE sql STABLE AS $$
    SELECT n.id, n.name, p_static_first AND NOT n.is_static,
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
        WHEN NOT EXISTS (SELECT 1 FROM node_images i WHERE i.node_id = n.id AND i.reference = p_image) THEN 'no image yet'
        WHEN n.gpus_used + p_gpu > n.gpu_capacity AND p_gpu > 0 THEN 'too few graphics cards free'
        WHEN n.cpu_used + p_cpu > n.cpu_capacity THEN 'too little CPU free'
        WHEN n.memory_used + p_memory > n.memory_capacity THEN 'too little memory free'
        WHEN n.sessions_used >= n.session_limit THEN 'as many sessions as allowed'
        ELSE 'fits' END AS reason OFFSET 0) j
    WHERE n.zone_id = p_zone AND n.role = 'agent' AND n.removed_at IS NULL
$$;

-- Whether a workspace is for a user at all.
CREATE FUNCTION workspace_is_for_v1(p_user uuid, p_groups uuid[]) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT p_groups IS NULL
        OR EXISTS (SELECT 1 FROM group_members m WHERE m.user_id = p_user AND m.group_id = ANY (p_groups))
        OR EXISTS (SELECT 1 FROM groups g WHERE g.system = 'everyone' AND g.id = ANY (p_groups))
$$;

-- The zones that a launch asked for in `z` may go to, in order, each with the rule that keeps it out, if one does. p_allowed is the
-- policy's list of zones.
CREATE FUNCTION tried_zones_v1(z zones, w workspaces, p_allowed jsonb)
RETURNS TABLE (id uuid, name text, settings jsonb, labels jsonb, turn bigint, barrier text) LANGUAGE sql STABLE AS $$
    SELECT o.id, o.name, o.settings, o.labels,
        CASE WHEN o.id = z.id THEN 0 ELSE coalesce(array_position(z.alternates, o.id), o.position) END,
        CASE WHEN o.id <> z.id AND (o.settings->>'isolated')::boolean THEN 'isolated: it lends nothing'
             WHEN NOT o.id = ANY (coalesce(w.zones, ARRAY[o.id])) THEN 'this workspace is not offered there'
             WHEN p_allowed <> '[]' AND NOT p_allowed ? o.id::text THEN 'policy does not allow this zone' END
    FROM zones o
    WHERE o.id = z.id
       OR ((z.settings->>'search_alternate_zones')::boolean AND NOT (z.settings->>'isolated')::boolean
           AND (z.alternates = '{}' OR o.id = ANY (z.alternates)))
$$;

-- Takes a place on one agent, if it still has it. A launch holds the lock of at most one agent: where the agent was filled meanwhile, the
-- subtransaction gives it back.
CREATE FUNCTION reserve_v1(p_node uuid, w workspaces) RETURNS nodes LANGUAGE plpgsql AS $$
DECLARE
    v_node nodes;
BEGIN
    UPDATE nodes SET
        cpu_used = cpu_used + w.cpu_milli,
        memory_used = memory_used + w.memory_mb,
        gpus_used = gpus_used + w.gpu,
        sessions_used = sessions_used + 1,
        last_placed = nextval('placements'),
        desired_version = desired_version + 1
    WHERE id = p_node AND NOT draining AND removed_at IS NULL
        AND cpu_used + w.cpu_milli <= cpu_capacity
        AND memory_used + w.memory_mb <= memory_capacity
        AND (w.gpu = 0 OR gpus_used + w.gpu <= gpu_capacity)
        AND (session_limit IS NULL OR sessions_used < session_limit)
    RETURNING * INTO v_node;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'MR001';
    END IF;
    RETURN v_node;
EXCEPTION WHEN SQLSTATE 'MR001' THEN
    RETURN NULL;
END
$$;

-- Finds an agent for a workspace, beginning in `z`, and takes the place. The explanation has the zones that were asked, the counts per
-- reason, and the first twenty candidates in words.
CREATE FUNCTION place_v1(z zones, w workspaces, p_allowed jsonb, OUT chosen nodes, OUT explanation jsonb) LANGUAGE plpgsql AS $$
DECLARE
    v_try record;
    v_counts jsonb;
    v_first jsonb;
    v_fits uuid[];
    v_id uuid;
    v_verdict text;
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
                        row_number() OVER (ORDER BY c.comes_and_goes, c.rank, c.id) AS place
                    FROM candidates_v1(v_try.id, v_try.settings->>'load_strategy',
                        (v_try.settings->>'prioritize_static_agents')::boolean, v_try.labels,
                        w.network, w.required_labels, w.gpu, w.image, w.cpu_milli, w.memory_mb) c)
                SELECT
                    (SELECT coalesce(jsonb_object_agg(r.reason, r.number), '{}')
                        FROM (SELECT j.reason, count(*) AS number FROM judged j GROUP BY j.reason) r),
                    (SELECT coalesce(jsonb_agg(jsonb_build_object('zone', v_try.name, 'agent', j.name, 'verdict', j.verdict)
                            ORDER BY j.place), '[]') FROM judged j WHERE j.place <= 20),
                    ARRAY(SELECT j.id FROM judged j WHERE j.reason = 'fits' ORDER BY j.place LIMIT 8)
                    INTO v_counts, v_first, v_fits;
                FOREACH v_id IN ARRAY v_fits LOOP
                    chosen := reserve_v1(v_id, w);
                    EXIT WHEN chosen.id IS NOT NULL;
                END LOOP;
                EXIT WHEN chosen.id IS NOT NULL OR v_fits = '{}';
            END LOOP;
            IF chosen.id IS NOT NULL THEN
                v_verdict := 'chosen';
                v_counts := v_counts || '{"chosen": 1}' || jsonb_build_object('fits', (v_counts->>'fits')::bigint - 1);
                IF v_counts->>'fits' = '0' THEN
                    v_counts := v_counts - 'fits';
                END IF;
                v_first := (
                    SELECT coalesce(jsonb_agg(CASE WHEN f.c->>'agent' = chosen.name THEN f.c || '{"verdict": "chosen"}' ELSE f.c END
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
                v_all_first := v_all_first || jsonb_build_object('zone', v_try.name, 'agent', chosen.name, 'verdict', 'chosen');
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

-- What the agent needs to make the workspace.
CREATE FUNCTION spec_v1(w workspaces) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('image', w.image, 'cpu_milli', w.cpu_milli, 'memory_mb', w.memory_mb, 'shm_mb', w.shm_mb,
        'home_mb', w.home_mb, 'tmp_mb', w.tmp_mb, 'pids_limit', w.pids_limit, 'network', w.network, 'seccomp', w.seccomp)
$$;

-- p_context is what the Web App node knows of the request besides.
CREATE FUNCTION launch_v2(
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
    SELECT * INTO v_zone FROM zones WHERE p_zone IS NULL OR name = p_zone ORDER BY position LIMIT 1;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'no_zone');
    END IF;
    -- As policy_v1 does; written out, it is planned with the rest, once for a connection.
    SELECT jsonb_object_agg(p.setting, p.value) INTO v_policy FROM policy_rows_v1(v_user) p;
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

-- Nodes of the release before decide alike: two ways to count would promise a place twice.
CREATE OR REPLACE FUNCTION launch_v1(
    p_token bytea, p_session uuid, p_workspace uuid, p_zone text, p_key text, p_address text, p_request text
) RETURNS jsonb LANGUAGE sql AS $$
    SELECT CASE WHEN a.answer->>'outcome' IN ('not_offered', 'policy') THEN '{"outcome": "no_workspace"}'::jsonb ELSE a.answer END
    FROM (SELECT launch_v2(p_token, p_session, p_workspace, p_zone, p_key, p_address, p_request, '{}') AS answer OFFSET 0) a
$$;

-- The catalogue's entries, with where they may run.
CREATE OR REPLACE FUNCTION workspace_view_v1(w workspaces) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('id', w.id, 'name', w.name, 'description', w.description, 'icon', w.icon, 'image', w.image,
        'cpu', w.cpu_milli / 1000.0, 'memory_mb', w.memory_mb, 'gpu', w.gpu, 'network', w.network, 'seccomp', w.seccomp,
        'shm_mb', w.shm_mb, 'home_mb', w.home_mb, 'tmp_mb', w.tmp_mb, 'pids_limit', w.pids_limit,
        'required_labels', w.required_labels,
        'zones', CASE WHEN w.zones IS NOT NULL THEN (
            SELECT coalesce(jsonb_agg(z.name ORDER BY z.position), '[]') FROM zones z WHERE z.id = ANY (w.zones)) END,
        'groups', CASE WHEN w.groups IS NOT NULL THEN (
            SELECT coalesce(jsonb_agg(g.name ORDER BY lower(g.name)), '[]') FROM groups g WHERE g.id = ANY (w.groups)) END)
$$;

CREATE OR REPLACE FUNCTION list_workspaces_v1(p_token bytea) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN EXISTS (SELECT 1 FROM caller_v1(p_token)) THEN
        (SELECT coalesce(jsonb_agg(workspace_view_v1(w) ORDER BY w.created_at, w.name), '[]')
            FROM workspaces w, caller_v1(p_token) u WHERE w.deleted_at IS NULL AND workspace_is_for_v1(u.id, w.groups))
        ELSE 'null'::jsonb END
$$;

-- Makes an entry of the catalogue (p_version is null), or replaces it if nobody did since the caller read it. p_entry has every field, and
-- zones and groups by their names.
CREATE FUNCTION save_workspace_v1(p_id uuid, p_version bigint, p_entry jsonb, p_by uuid) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_unknown text;
    v workspaces;
BEGIN
    SELECT n INTO v_unknown FROM jsonb_array_elements_text(nullif(p_entry->'zones', 'null')) n
        WHERE NOT EXISTS (SELECT 1 FROM zones z WHERE z.name = n) LIMIT 1;
    IF FOUND THEN
        RETURN jsonb_build_object('outcome', 'no_zone', 'zone', v_unknown);
    END IF;
    SELECT n INTO v_unknown FROM jsonb_array_elements_text(nullif(p_entry->'groups', 'null')) n
        WHERE NOT EXISTS (SELECT 1 FROM groups g WHERE lower(g.name) = lower(n)) LIMIT 1;
    IF FOUND THEN
        RETURN jsonb_build_object('outcome', 'no_group', 'group', v_unknown);
    END IF;
    SELECT p_id, p_entry->>'name', p_entry->>'description', p_entry->>'icon', p_entry->>'image', (p_entry->>'cpu_milli')::bigint,
        (p_entry->>'memory_mb')::bigint, (p_entry->>'gpu')::integer, p_entry->>'network', p_entry->>'seccomp',
        (p_entry->>'shm_mb')::bigint, (p_entry->>'home_mb')::bigint, (p_entry->>'tmp_mb')::bigint, (p_entry->>'pids_limit')::bigint,
        p_entry->'required_labels',
        CASE WHEN jsonb_typeof(p_entry->'zones') = 'array' THEN ARRAY(
            SELECT z.id FROM zones z WHERE p_entry->'zones' ? z.name ORDER BY z.position) END,
        CASE WHEN jsonb_typeof(p_entry->'groups') = 'array' THEN ARRAY(
            SELECT g.id FROM groups g WHERE lower(g.name) IN (SELECT lower(x) FROM jsonb_array_elements_text(p_entry->'groups') x)
            ORDER BY g.id) END
        INTO v.id, v.name, v.description, v.icon, v.image, v.cpu_milli, v.memory_mb, v.gpu, v.network, v.seccomp, v.shm_mb, v.home_mb,
            v.tmp_mb, v.pids_limit, v.required_labels, v.zones, v.groups;
    IF p_version IS NULL THEN
        INSERT INTO workspaces (id, name, description, icon, image, cpu_milli, memory_mb, gpu, network, seccomp, shm_mb, home_mb, tmp_mb,
                pids_limit, required_labels, zones, groups)
            VALUES (v.id, v.name, v.description, v.icon, v.image, v.cpu_milli, v.memory_mb, v.gpu, v.network, v.seccomp, v.shm_mb,
                v.home_mb, v.tmp_mb, v.pids_limit, v.required_labels, v.zones, v.groups)
            RETURNING * INTO v;
    ELSE
        UPDATE workspaces SET name = v.name, description = v.description, icon = v.icon, image = v.image, cpu_milli = v.cpu_milli,
            memory_mb = v.memory_mb, gpu = v.gpu, network = v.network, seccomp = v.seccomp, shm_mb = v.shm_mb, home_mb = v.home_mb,
            tmp_mb = v.tmp_mb, pids_limit = v.pids_limit, required_labels = v.required_labels, zones = v.zones,
            groups = v.groups, version = version + 1
            WHERE id = p_id AND version = p_version AND deleted_at IS NULL RETURNING * INTO v;
        IF NOT FOUND THEN
            RETURN jsonb_build_object('outcome', 'changed');
        END IF;
    END IF;
    INSERT INTO audit (user_id, action, target, outcome, detail)
        VALUES (p_by, CASE WHEN p_version IS NULL THEN 'create_workspace' ELSE 'update_workspace' END, v.name, 'ok', p_entry);
    RETURN jsonb_build_object('outcome', 'ok', 'workspace', workspace_view_v1(v));
END
$$;

-- A node, as administrators see it.
CREATE FUNCTION node_view_v1(n nodes) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'id', n.id, 'name', n.name, 'role', n.role, 'zone', (SELECT z.name FROM zones z WHERE z.id = n.zone_id),
        'address', n.address, 'version', n.version,
        'state', CASE WHEN n.last_seen_at IS NULL THEN 'enrolled'
            WHEN NOT node_is_reachable_v1(n.last_seen_at) THEN 'unreachable'
            WHEN n.draining THEN 'draining' ELSE 'ready' END,
        'last_seen_at', n.last_seen_at, 'sessions', n.sessions_used, 'streams', n.streams,
        'cpu_total', n.cpu_total / 1000.0, 'cpu_used', n.cpu_used / 1000.0,
        'memory_mb_total', n.memory_total, 'memory_mb_used', n.memory_used,
        'gpus_total', coalesce((n.report->>'gpus')::bigint, 0), 'gpus_used', n.gpus_used,
        'capacity', jsonb_build_object('cpu', n.cpu_capacity / 1000.0, 'memory_mb', n.memory_capacity, 'gpus', n.gpu_capacity,
            'sessions', n.session_limit, 'cpu_override', n.cpu_override / 1000.0, 'memory_mb_override', n.memory_override,
            'gpus_override', n.gpu_override, 'cpu_overcommit', n.cpu_overcommit / 100.0,
            'memory_overcommit', n.memory_overcommit / 100.0, 'static', n.is_static, 'labels', n.labels),
        'images', (SELECT coalesce(jsonb_agg(jsonb_build_object('reference', i.reference, 'image_id', i.image_id)
            ORDER BY i.reference), '[]') FROM node_images i WHERE i.node_id = n.id),
        'home_storage', n.report->>'home_storage', 'network_modes', n.networks,
        'quarantined', coalesce(n.report->'quarantined', '[]'), 'problems', n.problems)
$$;

-- Sets an agent's columns of these names; a null clears one. Null when there is no such agent.
CREATE FUNCTION update_node_v1(p_node uuid, p_columns jsonb, p_by uuid) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v nodes;
BEGIN
    SELECT * INTO v FROM nodes WHERE id = p_node AND role = 'agent' AND removed_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'null'::jsonb;
    END IF;
    v := jsonb_populate_record(v, p_columns);
    UPDATE nodes SET labels = v.labels, is_static = v.is_static, cpu_override = v.cpu_override, memory_override = v.memory_override,
        gpu_override = v.gpu_override, session_limit = v.session_limit, cpu_overcommit = v.cpu_overcommit,
        memory_overcommit = v.memory_overcommit WHERE id = p_node RETURNING * INTO v;
    INSERT INTO audit (user_id, node_id, action, target, outcome, detail) VALUES (p_by, p_node, 'update_node', v.name, 'ok', p_columns);
    RETURN node_view_v1(v);
END
$$;
