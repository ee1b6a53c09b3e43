-- Launch, look, connect, end: each hot interaction is one call in which caller, permission and action resolve together.
-- Lock order: users, nodes, sessions. The pure model of the placement decision is shared/model/src/placement.rs.

-- A zone's settings with its alternates by their names of now.
CREATE FUNCTION zone_settings_v1(z zones) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT z.settings || jsonb_build_object('alternate_zones', (
        SELECT coalesce(jsonb_agg(a.name ORDER BY array_position(z.alternates, a.id)), '[]')
        FROM zones a WHERE a.id = ANY (z.alternates)))
$$;

-- How long a node may be silent before nothing new is placed on it.
CREATE FUNCTION node_is_reachable_v1(p_last_seen timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce(p_last_seen > now() - interval '10 seconds', false)
$$;

CREATE FUNCTION judge_v1(n nodes, p_has_image boolean, w workspaces) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN NOT node_is_reachable_v1(n.last_seen_at) THEN 'unreachable'
        WHEN n.draining THEN 'draining'
        -- Only what it wrote down does an agent carry out.
        WHEN n.problems @> '[{"code": "disk"}]' THEN 'its disk takes no writes'
        WHEN w.network <> 'none' AND NOT coalesce(n.report->'network_modes' ? w.network, false) THEN
            'network mode ' || w.network || ' is not offered'
        WHEN w.gpu > coalesce((n.report->>'gpus')::integer, 0) THEN 'no graphics card'
        WHEN NOT p_has_image THEN 'no image yet'
        WHEN n.cpu_used + w.cpu_milli > n.cpu_total THEN
            ((n.cpu_used + w.cpu_milli - n.cpu_total) / 1000) || '.'
            || lpad(((n.cpu_used + w.cpu_milli - n.cpu_total) % 1000)::text, 3, '0') || ' core short'
        WHEN n.memory_used + w.memory_mb > n.memory_total THEN
            (n.memory_used + w.memory_mb - n.memory_total) || ' MB memory short'
        ELSE 'fits' END
$$;

CREATE FUNCTION load_millionths_v1(n nodes) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT greatest(
        CASE WHEN n.cpu_total > 0 THEN n.cpu_used * 1000000 / n.cpu_total ELSE 1000000 END,
        CASE WHEN n.memory_total > 0 THEN n.memory_used * 1000000 / n.memory_total ELSE 1000000 END)
$$;

-- Smaller comes first.
CREATE FUNCTION rank_v1(n nodes, p_strategy text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE p_strategy
        WHEN 'most_load' THEN -load_millionths_v1(n)
        WHEN 'least_sessions' THEN n.sessions_used
        WHEN 'most_sessions' THEN -n.sessions_used
        WHEN 'round_robin' THEN n.last_placed
        ELSE load_millionths_v1(n) END
$$;

CREATE FUNCTION session_view_v1(s sessions) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'id', s.id, 'name', w.name,
        'workspace', jsonb_build_object('id', w.id, 'name', w.name, 'icon', w.icon),
        'user', jsonb_build_object('id', u.id, 'name', u.name),
        'zone', z.name, 'agent', n.name, 'state', s.state,
        'progress', jsonb_build_object('step', s.progress_step, 'message', s.progress_message, 'percent', s.progress_percent),
        'reason', s.reason,
        'created_at', s.created_at, 'started_at', s.started_at, 'ended_at', s.ended_at)
    FROM workspaces w, users u, zones z, nodes n
    WHERE w.id = s.workspace_id AND u.id = s.user_id AND z.id = s.zone_id AND n.id = s.node_id
$$;

-- Tells every Web App node that a session or a node's desired state changed. A period is the guarantee; this is the haste.
CREATE FUNCTION announce_v1(p_node uuid, p_session uuid) RETURNS void LANGUAGE sql AS $$
    SELECT pg_notify('meridian', p_node || ' ' || p_session)
$$;

-- What its agent shall do about a session.
CREATE FUNCTION desired_view_v1(s sessions) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('session_id', s.id, 'epoch', s.epoch, 'generation', s.generation)
        || CASE WHEN s.desired = 'run' THEN jsonb_build_object('command', 'run', 'spec', s.spec)
                ELSE jsonb_build_object('command', 'end', 'reason', coalesce(s.reason, 'ended')) END
$$;

-- What is pushed to a session's agent after a change, and where to: the zone's private balancer, or the agent itself. Its version is 0:
-- a hint, which the numbered watch and heartbeat make certain.
CREATE FUNCTION push_view_v1(s sessions) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('node_id', n.id, 'zone_id', z.id,
        'address', coalesce(nullif(z.settings->>'private_balancer', ''), n.address),
        'update', jsonb_build_object('deployment_id', d.id, 'epoch', d.control_epoch, 'version', 0, 'control_time', now(),
            'sessions', jsonb_build_array(desired_view_v1(s))))
    FROM deployment d, nodes n, zones z WHERE n.id = s.node_id AND z.id = n.zone_id
$$;

CREATE FUNCTION launch_v1(
    p_token bytea, p_session uuid, p_workspace uuid, p_zone text, p_key text, p_address text, p_request text
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_user users;
    v_known sessions;
    v_workspace workspaces;
    v_zone zones;
    v_try record;
    v_candidate record;
    v_verdict text;
    v_node uuid;
    v_node_name text;
    v_chosen_zone zones;
    v_desired bigint;
    v_candidates jsonb := '[]';
    v_counts jsonb := '{}';
    v_explanation jsonb;
    v_spec jsonb;
    v_session sessions;
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
    SELECT * INTO v_workspace FROM workspaces WHERE id = p_workspace;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'no_workspace');
    END IF;
    SELECT * INTO v_zone FROM zones WHERE p_zone IS NULL OR name = p_zone ORDER BY position LIMIT 1;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'no_zone');
    END IF;
    IF v_user.sessions_used >= v_user.session_limit THEN
        INSERT INTO audit (user_id, action, target, outcome, address, request_id)
            VALUES (v_user.id, 'launch', v_workspace.name, 'limit', p_address, p_request);
        RETURN jsonb_build_object('outcome', 'limit', 'limit', v_user.session_limit);
    END IF;

    <<zones>>
    FOR v_try IN
        SELECT z.*, 0 AS turn FROM zones z WHERE z.id = v_zone.id
        UNION ALL
        SELECT z.*, CASE WHEN v_zone.alternates = '{}' THEN z.position
                    ELSE array_position(v_zone.alternates, z.id) END
        FROM zones z
        WHERE z.id <> v_zone.id
          AND (v_zone.settings->>'search_alternate_zones')::boolean
          AND NOT (v_zone.settings->>'isolated')::boolean
          AND NOT (z.settings->>'isolated')::boolean
          AND (v_zone.alternates = '{}' OR z.id = ANY (v_zone.alternates))
        ORDER BY turn
    LOOP
        FOR v_candidate IN
            SELECT n.id, n.name,
                judge_v1(n, i.node_id IS NOT NULL, v_workspace) AS verdict
            FROM nodes n LEFT JOIN node_images i ON i.node_id = n.id AND i.reference = v_workspace.image
            WHERE n.zone_id = v_try.id AND n.role = 'agent' AND n.removed_at IS NULL
            ORDER BY rank_v1(n, v_try.settings->>'load_strategy'), n.id
        LOOP
            v_verdict := v_candidate.verdict;
            IF v_verdict = 'fits' AND v_node IS NULL THEN
                -- The subtransaction gives the node's lock back when it was filled meanwhile: a launch holds at most one.
                BEGIN
                    UPDATE nodes SET
                        cpu_used = cpu_used + v_workspace.cpu_milli,
                        memory_used = memory_used + v_workspace.memory_mb,
                        sessions_used = sessions_used + 1,
                        last_placed = nextval('placements'),
                        desired_version = desired_version + 1
                    WHERE id = v_candidate.id AND NOT draining AND removed_at IS NULL
                        AND cpu_used + v_workspace.cpu_milli <= cpu_total
                        AND memory_used + v_workspace.memory_mb <= memory_total
                    RETURNING id, name, desired_version INTO v_node, v_node_name, v_desired;
                    IF NOT FOUND THEN
                        RAISE EXCEPTION USING ERRCODE = 'MR001';
                    END IF;
                    v_verdict := 'chosen';
                    SELECT * INTO v_chosen_zone FROM zones WHERE id = v_try.id;
                EXCEPTION WHEN SQLSTATE 'MR001' THEN
                    v_node := NULL;
                    SELECT judge_v1(n, true, v_workspace) INTO v_verdict
                        FROM nodes n WHERE n.id = v_candidate.id;
                    IF v_verdict = 'fits' THEN
                        v_verdict := 'taken meanwhile';
                    END IF;
                END;
            END IF;
            v_counts := jsonb_set(v_counts, ARRAY[v_verdict], to_jsonb(coalesce((v_counts->>v_verdict)::integer, 0) + 1));
            IF jsonb_array_length(v_candidates) < 20 OR v_verdict = 'chosen' THEN
                v_candidates := v_candidates
                    || jsonb_build_object('zone', v_try.name, 'agent', v_candidate.name, 'verdict', v_verdict);
            END IF;
        END LOOP;
        EXIT zones WHEN v_node IS NOT NULL;
    END LOOP;

    v_explanation := jsonb_build_object('counts', v_counts, 'candidates', v_candidates, 'chosen',
        CASE WHEN v_node IS NOT NULL THEN jsonb_build_object('zone', v_chosen_zone.name, 'agent', v_node_name) END);
    IF v_node IS NULL THEN
        INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
            VALUES (v_user.id, 'launch', v_workspace.name, 'capacity', v_explanation, p_address, p_request);
        RETURN jsonb_build_object('outcome', 'capacity', 'zone', v_zone.name,
            'isolated', (v_zone.settings->>'isolated')::boolean, 'explanation', v_candidates);
    END IF;

    UPDATE users SET sessions_used = sessions_used + 1 WHERE id = v_user.id;
    v_spec := jsonb_build_object('image', v_workspace.image, 'cpu_milli', v_workspace.cpu_milli,
        'memory_mb', v_workspace.memory_mb, 'shm_mb', v_workspace.shm_mb, 'home_mb', v_workspace.home_mb,
        'tmp_mb', v_workspace.tmp_mb, 'pids_limit', v_workspace.pids_limit, 'network', v_workspace.network,
        'seccomp', v_workspace.seccomp);
    INSERT INTO sessions (id, user_id, workspace_id, zone_id, node_id, state, desired, epoch, desired_version,
            cpu_milli, memory_mb, spec, idempotency_key, requested_zone, progress_message, explanation)
        SELECT p_session, v_user.id, v_workspace.id, v_chosen_zone.id, v_node, 'starting', 'run', d.control_epoch,
            v_desired, v_workspace.cpu_milli, v_workspace.memory_mb, v_spec, p_key, p_zone,
            'A place on ' || v_node_name || ' is reserved', v_explanation
        FROM deployment d
        RETURNING * INTO v_session;
    INSERT INTO audit (user_id, action, target, outcome, detail, address, request_id)
        VALUES (v_user.id, 'launch', p_session::text, 'ok',
            jsonb_build_object('workspace', v_workspace.name, 'zone', v_chosen_zone.name, 'agent', v_node_name),
            p_address, p_request);
    PERFORM announce_v1(v_node, p_session);
    RETURN jsonb_build_object('outcome', 'ok', 'replayed', false, 'push', push_view_v1(v_session),
        'session', session_view_v1(v_session));
END
$$;

-- One session, for its user or an administrator. Somebody else's looks exactly like none.
CREATE FUNCTION get_session_v1(p_token bytea, p_session uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN c.id IS NULL THEN jsonb_build_object('outcome', 'unauthenticated')
        WHEN s.id IS NULL THEN jsonb_build_object('outcome', 'not_found')
        ELSE jsonb_build_object('outcome', 'ok', 'caller', c.id, 'session', session_view_v1(s), 'explanation', s.explanation) END
    FROM (SELECT 1) one
    LEFT JOIN caller_v1(p_token) c ON true
    LEFT JOIN sessions s ON s.id = p_session AND (s.user_id = c.id OR c.role = 'admin')
$$;

CREATE FUNCTION list_sessions_v1(p_token bytea, p_all boolean, p_ended boolean, p_after uuid, p_limit integer)
RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_user users;
    v_items jsonb;
BEGIN
    SELECT * INTO v_user FROM caller_v1(p_token);
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated');
    END IF;
    IF p_all AND v_user.role <> 'admin' THEN
        RETURN jsonb_build_object('outcome', 'forbidden');
    END IF;
    SELECT coalesce(jsonb_agg(session_view_v1(s) ORDER BY s.id DESC), '[]') INTO v_items FROM (
        SELECT * FROM sessions x
        WHERE (p_all OR x.user_id = v_user.id)
          AND (p_ended OR x.state NOT IN ('ended', 'failed', 'lost'))
          AND (p_after IS NULL OR x.id < p_after)
        ORDER BY x.id DESC LIMIT p_limit) s;
    RETURN jsonb_build_object('outcome', 'ok', 'items', v_items);
END
$$;

-- What a ticket for the caller's own session must say. Administrators have no way into somebody's desktop.
CREATE FUNCTION connect_v1(p_token bytea, p_session uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN c.id IS NULL THEN jsonb_build_object('outcome', 'unauthenticated')
        WHEN s.id IS NULL THEN jsonb_build_object('outcome', 'not_found')
        WHEN s.state NOT IN ('starting', 'running', 'unreachable') THEN
            jsonb_build_object('outcome', 'not_live', 'state', s.state, 'reason', s.reason)
        ELSE jsonb_build_object('outcome', 'ok', 'user_id', c.id, 'zone_id', z.id, 'agent_id', s.node_id,
            'epoch', s.epoch, 'generation', s.generation, 'settings', z.settings) END
    FROM (SELECT 1) one
    LEFT JOIN caller_v1(p_token) c ON true
    LEFT JOIN sessions s ON s.id = p_session AND s.user_id = c.id
    LEFT JOIN zones z ON z.id = s.zone_id
$$;

-- The proxy's one question. The ticket's signature and times were checked before; here it is used up, once, whoever retries.
CREATE FUNCTION authorize_v1(
    p_proxy uuid, p_zone uuid, p_ticket uuid, p_nonce text, p_session uuid, p_user uuid, p_agent uuid,
    p_epoch bigint, p_generation bigint, p_grant uuid, p_address text, p_request text
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_use ticket_uses;
BEGIN
    PERFORM 1 FROM nodes WHERE id = p_proxy AND role = 'proxy' AND zone_id = p_zone AND removed_at IS NULL;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unknown_proxy');
    END IF;
    PERFORM 1 FROM sessions s JOIN users u ON u.id = s.user_id
        WHERE s.id = p_session AND s.user_id = p_user AND s.node_id = p_agent AND s.zone_id = p_zone
          AND s.epoch = p_epoch AND s.generation = p_generation AND u.disabled_at IS NULL
          AND s.state IN ('starting', 'running', 'unreachable');
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_live');
    END IF;
    INSERT INTO ticket_uses (ticket_id, proxy_id, nonce, grant_id) VALUES (p_ticket, p_proxy, p_nonce, p_grant)
        ON CONFLICT (ticket_id) DO NOTHING RETURNING * INTO v_use;
    IF NOT FOUND THEN
        SELECT * INTO v_use FROM ticket_uses WHERE ticket_id = p_ticket;
        IF v_use.proxy_id <> p_proxy OR v_use.nonce <> p_nonce THEN
            INSERT INTO audit (user_id, node_id, action, target, outcome, address, request_id)
                VALUES (p_user, p_proxy, 'connect', p_session::text, 'ticket_reused', p_address, p_request);
            RETURN jsonb_build_object('outcome', 'reused');
        END IF;
    ELSE
        INSERT INTO audit (user_id, node_id, action, target, outcome, address, request_id)
            VALUES (p_user, p_proxy, 'connect', p_session::text, 'ok', p_address, p_request);
    END IF;
    RETURN jsonb_build_object('outcome', 'ok', 'grant_id', v_use.grant_id,
        'granted_at_s', floor(extract(epoch FROM v_use.granted_at))::bigint);
END
$$;

-- Sets the tombstone. Asked again, it says how far the ending is.
CREATE FUNCTION end_session_v1(p_token bytea, p_session uuid, p_address text, p_request text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_user users;
    v_session sessions;
    v_desired bigint;
BEGIN
    SELECT * INTO v_user FROM caller_v1(p_token);
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated');
    END IF;
    SELECT * INTO v_session FROM sessions WHERE id = p_session AND (user_id = v_user.id OR v_user.role = 'admin');
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    IF v_session.state IN ('ending', 'ended', 'failed', 'lost') THEN
        RETURN jsonb_build_object('outcome', 'ok', 'push', push_view_v1(v_session), 'session', session_view_v1(v_session));
    END IF;
    UPDATE nodes SET desired_version = desired_version + 1 WHERE id = v_session.node_id
        RETURNING desired_version INTO v_desired;
    UPDATE sessions SET state = 'ending', desired = 'end', generation = generation + 1, desired_version = v_desired,
        cut_before = now(),
        reason = CASE WHEN user_id = v_user.id THEN 'ended by its user' ELSE 'ended by an administrator' END
        WHERE id = p_session AND state NOT IN ('ending', 'ended', 'failed', 'lost')
        RETURNING * INTO v_session;
    IF FOUND THEN
        INSERT INTO audit (user_id, action, target, outcome, address, request_id)
            VALUES (v_user.id, 'end_session', p_session::text, 'ok', p_address, p_request);
        PERFORM announce_v1(v_session.node_id, p_session);
    ELSE
        SELECT * INTO v_session FROM sessions WHERE id = p_session;
    END IF;
    RETURN jsonb_build_object('outcome', 'ok', 'push', push_view_v1(v_session), 'session', session_view_v1(v_session));
END
$$;
