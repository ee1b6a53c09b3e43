-- Nodes: enrolment, the batched heartbeat with its answer, and what reconcilers do about silence.

CREATE FUNCTION enroll_v1(
    p_token bytea, p_node uuid, p_name text, p_address text, p_version text, p_point bytea, p_request text
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v enrollments;
    v_name text := p_name;
    v_zone zones;
BEGIN
    UPDATE enrollments SET used_at = now(), node_id = p_node
        WHERE token_hash = p_token AND used_at IS NULL AND expires_at > now() RETURNING * INTO v;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'refused');
    END IF;
    IF EXISTS (SELECT 1 FROM nodes WHERE name = p_name) THEN
        v_name := p_name || '-' || right(p_node::text, 6);
    END IF;
    SELECT * INTO v_zone FROM zones WHERE id = v.zone_id;
    INSERT INTO nodes (id, name, role, zone_id, address, version, public_point)
        VALUES (p_node, v_name, v.role, v.zone_id, p_address, p_version, p_point);
    INSERT INTO audit (node_id, user_id, action, target, outcome, request_id)
        VALUES (p_node, v.created_by, 'enroll', v_name, 'ok', p_request);
    RETURN jsonb_build_object('outcome', 'ok', 'role', v.role, 'zone_id', v.zone_id, 'zone_name', v_zone.name);
END
$$;

-- Gives back what a session holds, once. The caller holds the locks on user and node, in that order.
CREATE FUNCTION release_v1(p_session uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v sessions;
BEGIN
    UPDATE sessions SET reserved = false WHERE id = p_session AND reserved RETURNING * INTO v;
    IF FOUND THEN
        UPDATE users SET sessions_used = sessions_used - 1 WHERE id = v.user_id;
        UPDATE nodes SET cpu_used = cpu_used - v.cpu_milli, memory_used = memory_used - v.memory_mb,
            sessions_used = sessions_used - 1 WHERE id = v.node_id;
    END IF;
END
$$;

-- What the node shall do and know, newer than p_since. The same state gives the same text: nodes write it down when it changes.
CREATE FUNCTION update_view_v1(p_node uuid, p_since bigint) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'deployment_id', d.id, 'epoch', d.control_epoch, 'version', n.desired_version, 'control_time', now(),
        'sessions', CASE WHEN n.role <> 'agent' THEN '[]'::jsonb ELSE (
            SELECT coalesce(jsonb_agg(desired_view_v1(s) ORDER BY s.desired_version), '[]')
            FROM sessions s
            -- A node that knows more than this database, which was restored then, is told everything.
            WHERE s.node_id = n.id AND s.desired_version > CASE WHEN p_since > n.desired_version THEN 0 ELSE p_since END
              -- A tombstone that was carried out is only repeated to a node that asks for everything, for a day.
              AND (s.gone_at IS NULL OR s.gone_at > now() - interval '1 day')) END,
        'settings', jsonb_build_object(
            'zone_id', z.id, 'zone_name', z.name, 'zone', zone_settings_v1(z),
            'jwks', (SELECT jsonb_build_object('keys', coalesce(jsonb_agg(jsonb_build_object('kty', 'OKP', 'crv', 'Ed25519',
                'alg', 'EdDSA', 'use', 'sig', 'kid', k.id, 'x', k.public_x) ORDER BY k.id), '[]'))
                FROM signing_keys k WHERE k.retired_at IS NULL),
            -- As long as the session lives, so that a zone that was cut off for hours hears of them too; then ten minutes more.
            'revocations', (SELECT coalesce(jsonb_agg(jsonb_build_object('session_id', s.id, 'issued_before', s.cut)
                    ORDER BY s.id), '[]')
                FROM (SELECT id, cut_before AS cut FROM sessions
                      WHERE zone_id = n.zone_id AND cut_before IS NOT NULL AND state NOT IN ('ended', 'failed', 'lost')
                      UNION ALL
                      SELECT id, greatest(cut_before, ended_at) FROM sessions
                      WHERE zone_id = n.zone_id AND state IN ('ended', 'failed', 'lost')
                        AND ended_at > now() - interval '10 minutes') s),
            'agents', CASE WHEN n.role IN ('proxy', 'balance') THEN (
                SELECT coalesce(jsonb_agg(jsonb_build_object('node_id', a.id, 'address', a.address) ORDER BY a.id), '[]')
                FROM nodes a WHERE a.zone_id = n.zone_id AND a.role = 'agent' AND a.removed_at IS NULL AND a.address <> '')
                ELSE '[]'::jsonb END))
    FROM deployment d, nodes n LEFT JOIN zones z ON z.id = n.zone_id
    WHERE n.id = p_node AND n.removed_at IS NULL
$$;

CREATE FUNCTION heartbeat_v1(
    p_node uuid, p_since bigint, p_version text, p_address text, p_agent jsonb, p_problems jsonb
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    o record;
    s sessions;
    v_role text;
    v_desired bigint;
    v_changed boolean;
BEGIN
    SELECT role INTO v_role FROM nodes WHERE id = p_node AND removed_at IS NULL;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unknown_node');
    END IF;
    IF v_role <> 'agent' THEN
        p_agent := NULL; -- Nobody else has workspaces to report.
    END IF;
    -- Lock order: the users whose sessions may be released, then the node, then sessions.
    PERFORM 1 FROM users WHERE id IN (
        SELECT x.user_id FROM sessions x
        JOIN jsonb_to_recordset(p_agent->'sessions') AS r(session_id uuid, observation text) ON r.session_id = x.id
        WHERE x.reserved AND x.node_id = p_node AND r.observation IN ('failed', 'exited', 'gone'))
        ORDER BY id FOR NO KEY UPDATE;
    UPDATE nodes SET last_seen_at = now(), version = p_version, address = p_address, problems = coalesce(p_problems, '[]'),
        cpu_total = coalesce((p_agent->'total'->>'cpu_milli')::bigint, cpu_total),
        memory_total = coalesce((p_agent->'total'->>'memory_mb')::bigint, memory_total),
        report = coalesce(p_agent - 'sessions' - 'images' || jsonb_build_object('quarantined', (
            SELECT coalesce(jsonb_agg(q->>'session_id'), '[]') FROM jsonb_array_elements(p_agent->'sessions') q
            WHERE q->>'observation' = 'quarantined')), report)
        WHERE id = p_node;
    IF p_agent IS NOT NULL THEN
        DELETE FROM node_images WHERE node_id = p_node AND reference NOT IN (
            SELECT i->>'reference' FROM jsonb_array_elements(p_agent->'images') i);
        INSERT INTO node_images (node_id, reference, image_id)
            SELECT DISTINCT ON (i->>'reference') p_node, i->>'reference', i->>'image_id'
            FROM jsonb_array_elements(p_agent->'images') i
            ON CONFLICT (node_id, reference) DO UPDATE SET image_id = excluded.image_id
            WHERE node_images.image_id <> excluded.image_id;
        FOR o IN SELECT * FROM jsonb_to_recordset(p_agent->'sessions') AS r(session_id uuid, epoch bigint,
            generation bigint, observation text, step text, message text, percent integer, reason text) LOOP
            -- A report of another generation frees nothing and changes nothing.
            SELECT * INTO s FROM sessions x WHERE x.id = o.session_id AND x.node_id = p_node
                AND x.generation = o.generation AND x.epoch = o.epoch FOR NO KEY UPDATE;
            CONTINUE WHEN NOT FOUND;
            v_changed := true;
            IF o.observation = 'starting' AND s.state IN ('starting', 'unreachable') AND s.started_at IS NULL THEN
                UPDATE sessions SET state = 'starting', progress_step = o.step, progress_message = left(o.message, 500),
                    progress_percent = o.percent
                    WHERE id = s.id AND (state, progress_step, progress_message, progress_percent)
                        IS DISTINCT FROM ('starting', o.step, left(o.message, 500), o.percent);
                v_changed := FOUND;
            ELSIF o.observation IN ('starting', 'running') AND s.state IN ('starting', 'unreachable') THEN
                UPDATE sessions SET state = 'running', started_at = coalesce(started_at, now()), progress_step = 'ready',
                    progress_message = 'The workspace is ready', progress_percent = NULL WHERE id = s.id;
            ELSIF o.observation IN ('failed', 'exited') AND s.desired = 'run' AND s.state NOT IN ('ended', 'failed', 'lost') THEN
                -- What is left of it is removed by a tombstone of its own.
                PERFORM release_v1(s.id);
                UPDATE nodes SET desired_version = desired_version + 1 WHERE id = p_node RETURNING desired_version INTO v_desired;
                UPDATE sessions SET state = CASE o.observation WHEN 'failed' THEN 'failed' ELSE 'ended' END,
                    desired = 'end', generation = generation + 1, desired_version = v_desired,
                    reason = left(o.reason, 500), ended_at = now() WHERE id = s.id;
                INSERT INTO audit (user_id, node_id, action, target, outcome, detail) VALUES (s.user_id, p_node,
                    'session_' || o.observation, s.id::text, 'ok', jsonb_build_object('reason', left(o.reason, 500)));
            ELSIF o.observation = 'gone' AND s.desired = 'end' AND s.gone_at IS NULL THEN
                PERFORM release_v1(s.id);
                UPDATE sessions SET state = CASE WHEN state = 'ending' THEN 'ended' ELSE state END,
                    ended_at = coalesce(ended_at, now()), gone_at = now() WHERE id = s.id;
            ELSE
                v_changed := false;
            END IF;
            IF v_changed THEN
                PERFORM announce_v1(p_node, s.id);
            END IF;
        END LOOP;
    END IF;
    RETURN jsonb_build_object('outcome', 'ok', 'update', update_view_v1(p_node, p_since));
END
$$;

-- Sessions of silent agents become unreachable and keep their reservation. They come back with the agent's next report.
CREATE FUNCTION mark_unreachable_v1() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v record;
    v_node uuid;
    v_count integer := 0;
BEGIN
    FOR v_node IN SELECT n.id FROM nodes n
        WHERE n.role = 'agent' AND NOT node_is_reachable_v1(n.last_seen_at)
          AND (n.last_seen_at IS NOT NULL OR n.enrolled_at < now() - interval '10 seconds')
          AND EXISTS (SELECT 1 FROM sessions x WHERE x.node_id = n.id AND x.reserved AND x.state IN ('starting', 'running'))
        ORDER BY n.id LOOP
        -- Under the node's lock: its heartbeat may come in this very moment, and holds it while it changes sessions.
        PERFORM 1 FROM nodes WHERE id = v_node AND NOT node_is_reachable_v1(last_seen_at) FOR NO KEY UPDATE;
        CONTINUE WHEN NOT FOUND;
        FOR v IN UPDATE sessions SET state = 'unreachable'
            WHERE node_id = v_node AND reserved AND state IN ('starting', 'running') RETURNING id LOOP
            PERFORM announce_v1(v_node, v.id);
            v_count := v_count + 1;
        END LOOP;
    END LOOP;
    RETURN v_count;
END
$$;

-- Compares the counter columns with the reservations they stand for, puts them right, and says what was wrong. Suspects are found
-- without a lock; each is then looked at again under its own, which every change of its reservations holds, too.
CREATE FUNCTION audit_counters_v1() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v_id uuid;
    v_used bigint;
    v_cpu bigint;
    v_memory bigint;
    v_users integer := 0;
    v_nodes integer := 0;
BEGIN
    FOR v_id IN
        SELECT u.id FROM users u
        LEFT JOIN (SELECT s.user_id, count(*) AS used FROM sessions s WHERE s.reserved GROUP BY s.user_id) c ON c.user_id = u.id
        WHERE u.sessions_used <> coalesce(c.used, 0) ORDER BY u.id
    LOOP
        PERFORM 1 FROM users WHERE id = v_id FOR NO KEY UPDATE;
        SELECT count(*) INTO v_used FROM sessions WHERE user_id = v_id AND reserved;
        UPDATE users SET sessions_used = v_used WHERE id = v_id AND sessions_used <> v_used;
        IF FOUND THEN
            v_users := v_users + 1;
        END IF;
    END LOOP;
    FOR v_id IN
        SELECT n.id FROM nodes n
        LEFT JOIN (SELECT s.node_id, count(*) AS used, sum(s.cpu_milli) AS cpu, sum(s.memory_mb) AS memory
            FROM sessions s WHERE s.reserved GROUP BY s.node_id) c ON c.node_id = n.id
        WHERE (n.cpu_used, n.memory_used, n.sessions_used) <> (coalesce(c.cpu, 0), coalesce(c.memory, 0), coalesce(c.used, 0))
        ORDER BY n.id
    LOOP
        PERFORM 1 FROM nodes WHERE id = v_id FOR NO KEY UPDATE;
        SELECT count(*), coalesce(sum(cpu_milli), 0), coalesce(sum(memory_mb), 0) INTO v_used, v_cpu, v_memory
            FROM sessions WHERE node_id = v_id AND reserved;
        UPDATE nodes SET cpu_used = v_cpu, memory_used = v_memory, sessions_used = v_used
            WHERE id = v_id AND (cpu_used, memory_used, sessions_used) <> (v_cpu, v_memory, v_used);
        IF FOUND THEN
            v_nodes := v_nodes + 1;
        END IF;
    END LOOP;
    IF v_users + v_nodes > 0 THEN
        INSERT INTO audit (action, outcome, detail) VALUES ('audit_counters', 'corrected',
            jsonb_build_object('users', v_users, 'nodes', v_nodes));
    END IF;
    RETURN v_users + v_nodes;
END
$$;

-- Removes what nobody needs any more, at most p_batch rows of a kind, and says how many rows of the fullest kind it touched: as many as
-- p_batch means that there may be more. None when another node is at it. Days of 0 mean: for ever. Rows that somebody holds wait for
-- the next time.
CREATE FUNCTION clean_up_v1(p_session_days integer, p_audit_days integer, p_batch integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v_most integer := 0;
    v_rows integer;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('meridian clean_up', 0)) THEN
        RETURN NULL;
    END IF;
    DELETE FROM logins WHERE token_hash IN (SELECT token_hash FROM logins
        WHERE expires_at < now() - interval '1 day' LIMIT p_batch FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    v_most := greatest(v_most, v_rows);
    DELETE FROM ticket_uses WHERE ticket_id IN (SELECT ticket_id FROM ticket_uses
        WHERE granted_at < now() - interval '10 minutes' LIMIT p_batch FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    v_most := greatest(v_most, v_rows);
    DELETE FROM throttles WHERE key IN (SELECT key FROM throttles
        WHERE counted_since < now() - interval '1 hour' AND (blocked_until IS NULL OR blocked_until < now())
        LIMIT p_batch FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    v_most := greatest(v_most, v_rows);
    DELETE FROM enrollments WHERE token_hash IN (SELECT token_hash FROM enrollments
        WHERE expires_at < now() - interval '7 days' LIMIT p_batch FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    v_most := greatest(v_most, v_rows);
    UPDATE sessions SET idempotency_key = NULL WHERE id IN (SELECT id FROM sessions
        WHERE idempotency_key IS NOT NULL AND created_at < now() - interval '1 day' LIMIT p_batch FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    v_most := greatest(v_most, v_rows);
    IF p_session_days > 0 THEN
        -- A tombstone that was not carried out stays: an agent that comes back after months must still find it.
        DELETE FROM sessions WHERE id IN (SELECT s.id FROM sessions s
            WHERE s.state IN ('ended', 'failed', 'lost') AND s.ended_at < now() - make_interval(days => p_session_days)
              AND NOT s.reserved
              AND (s.gone_at IS NOT NULL OR EXISTS (SELECT 1 FROM nodes n WHERE n.id = s.node_id AND n.removed_at IS NOT NULL))
            LIMIT p_batch FOR UPDATE OF s SKIP LOCKED);
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_most := greatest(v_most, v_rows);
    END IF;
    IF p_audit_days > 0 THEN
        DELETE FROM audit WHERE id IN (SELECT id FROM audit
            WHERE at < now() - make_interval(days => p_audit_days) LIMIT p_batch FOR UPDATE SKIP LOCKED);
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_most := greatest(v_most, v_rows);
    END IF;
    RETURN v_most;
END
$$;

-- An administrator says that a node is gone for good. Its sessions are lost and give their places back. Should it come to life again, it
-- is told that it was removed, and touches nothing any more.
CREATE FUNCTION remove_node_v1(p_node uuid, p_by uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_node nodes;
    v_session record;
    v_desired bigint;
BEGIN
    PERFORM 1 FROM users WHERE id IN (SELECT user_id FROM sessions WHERE node_id = p_node AND reserved)
        ORDER BY id FOR NO KEY UPDATE;
    SELECT * INTO v_node FROM nodes WHERE id = p_node AND removed_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'not_found';
    END IF;
    IF node_is_reachable_v1(v_node.last_seen_at) AND EXISTS (SELECT 1 FROM sessions
        WHERE node_id = p_node AND state NOT IN ('ended', 'failed', 'lost')) THEN
        RETURN 'in_use';
    END IF;
    FOR v_session IN SELECT id FROM sessions WHERE node_id = p_node
        AND state NOT IN ('ended', 'failed', 'lost') ORDER BY id FOR NO KEY UPDATE LOOP
        PERFORM release_v1(v_session.id);
        UPDATE nodes SET desired_version = desired_version + 1 WHERE id = p_node RETURNING desired_version INTO v_desired;
        UPDATE sessions SET state = 'lost', desired = 'end', generation = generation + 1, desired_version = v_desired,
            reason = 'its machine is gone: an administrator removed it', ended_at = now() WHERE id = v_session.id;
        PERFORM announce_v1(p_node, v_session.id);
    END LOOP;
    UPDATE nodes SET removed_at = now() WHERE id = p_node;
    INSERT INTO audit (user_id, node_id, action, target, outcome) VALUES (p_by, p_node, 'remove_node', v_node.name, 'ok');
    RETURN 'ok';
END
$$;
