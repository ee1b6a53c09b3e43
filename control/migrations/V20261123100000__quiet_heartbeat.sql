-- A heartbeat writes what changed, and nothing of what did not: an agent with a thousand running sessions says so every two seconds.

CREATE OR REPLACE FUNCTION heartbeat_v1(
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
            -- Also a conflict that changes nothing locks its row, which is a write.
            WHERE NOT EXISTS (SELECT 1 FROM node_images k
                WHERE k.node_id = p_node AND k.reference = i->>'reference' AND k.image_id = i->>'image_id')
            ON CONFLICT (node_id, reference) DO UPDATE SET image_id = excluded.image_id
            WHERE node_images.image_id <> excluded.image_id;
        -- Sessions that merely run are only read here: they cost no lock, and so no write.
        FOR o IN SELECT r.* FROM jsonb_to_recordset(p_agent->'sessions') AS r(session_id uuid, epoch bigint,
                generation bigint, observation text, step text, message text, percent integer, reason text)
            JOIN sessions x ON x.id = r.session_id AND x.node_id = p_node AND x.generation = r.generation AND x.epoch = r.epoch
            WHERE CASE r.observation
                WHEN 'starting' THEN x.state = 'unreachable' OR x.state = 'starting' AND (x.started_at IS NOT NULL
                    OR (x.progress_step, x.progress_message, x.progress_percent) IS DISTINCT FROM (r.step, left(r.message, 500), r.percent))
                WHEN 'running' THEN x.state IN ('starting', 'unreachable')
                WHEN 'failed' THEN x.desired = 'run' AND x.state NOT IN ('ended', 'failed', 'lost')
                WHEN 'exited' THEN x.desired = 'run' AND x.state NOT IN ('ended', 'failed', 'lost')
                WHEN 'gone' THEN x.desired = 'end' AND x.gone_at IS NULL
                ELSE false END
        LOOP
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
