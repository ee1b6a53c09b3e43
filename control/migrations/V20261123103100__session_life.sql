-- How long a session may live: when it was last used, what its user's policy says of that, and what follows.

-- Until when a session counts as used, as its agent says in its heartbeats. Apart from the sessions, because it changes often and their
-- rows are wide; a session that nobody uses costs no write.
CREATE TABLE session_activity (
    session_id  uuid PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
    active_at   timestamptz NOT NULL
) WITH (fillfactor = 50);

-- When the session's streams were cut because nobody used it. As long as it is the same as cut_before, that was the last reason.
ALTER TABLE sessions ADD COLUMN idle_cut_at timestamptz;

-- Writes down what a heartbeat says of the sessions that run. An agent's clock may be wrong, so nothing is used further ahead than a minute.
CREATE FUNCTION note_activity_v1(p_node uuid, p_sessions jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO session_activity AS a (session_id, active_at)
        SELECT x.id, least(r.active_at, now() + interval '1 minute')
        FROM jsonb_to_recordset(p_sessions) AS r(session_id uuid, epoch bigint, generation bigint, active_at timestamptz)
        JOIN sessions x ON x.id = r.session_id AND x.node_id = p_node AND x.generation = r.generation AND x.epoch = r.epoch
        LEFT JOIN session_activity k ON k.session_id = x.id
        -- Also a conflict that changes nothing locks its row, which is a write.
        WHERE r.active_at IS NOT NULL AND x.state = 'running'
          AND (k.active_at IS NULL OR k.active_at < least(r.active_at, now()))
        ON CONFLICT (session_id) DO UPDATE SET active_at = excluded.active_at WHERE a.active_at < excluded.active_at
$$;

-- Of a user's policy what concerns the life of sessions, as it is now.
CREATE FUNCTION life_policy_v1(p_user uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_object_agg(p.setting, p.value) FROM (
        SELECT DISTINCT ON (e.setting) e.setting, e.value FROM (
            SELECT s.key AS setting, s.value, g.priority AS turn, g.id
            FROM groups g CROSS JOIN LATERAL jsonb_each(g.settings) s
            WHERE s.key IN ('time_limit_s', 'idle_timeout_s', 'idle_action')
              AND (g.system = 'everyone' OR g.id IN (SELECT m.group_id FROM group_members m WHERE m.user_id = p_user))
            UNION ALL
            SELECT d.key, d.value, 1000001, NULL FROM jsonb_each(policy_defaults_v1()) d
            WHERE d.key IN ('time_limit_s', 'idle_timeout_s', 'idle_action')) e
        ORDER BY e.setting, e.turn, e.id) p
$$;

-- Since when nobody uses a session; null where that is not known: it does not run, or its agent does not say.
CREATE FUNCTION unused_since_v1(s sessions) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT greatest(a.active_at, s.started_at) FROM session_activity a
    WHERE a.session_id = s.id AND s.state = 'running'
      AND EXISTS (SELECT 1 FROM nodes n WHERE n.id = s.node_id AND n.report @> '{"reports_activity": true}')
$$;

-- The part of a session's view that says how long it may live still.
CREATE FUNCTION session_life_v1(s sessions) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN s.state IN ('ending', 'ended', 'failed', 'lost')
        -- Where no group limits anything, nothing is to be resolved.
        OR NOT EXISTS (SELECT 1 FROM groups g WHERE g.settings ?| '{time_limit_s,idle_timeout_s}') THEN '{}'::jsonb
    ELSE (
        SELECT jsonb_build_object(
            'expires_at', CASE WHEN (p->>'time_limit_s')::bigint > 0 THEN
                s.created_at + make_interval(secs => (p->>'time_limit_s')::bigint) END,
            'idle_ends_at', CASE WHEN (p->>'idle_timeout_s')::bigint > 0 AND (s.idle_cut_at >= unused) IS NOT TRUE THEN
                unused + make_interval(secs => (p->>'idle_timeout_s')::bigint) END,
            'idle_action', CASE WHEN (p->>'idle_timeout_s')::bigint > 0 THEN p->>'idle_action' END,
            'idle_since', CASE WHEN s.idle_cut_at >= unused THEN s.idle_cut_at END)
        FROM life_policy_v1(s.user_id) p, unused_since_v1(s) unused) END
$$;

-- A time in words: whole hours or minutes where it is made of them.
CREATE FUNCTION duration_words_v1(p_seconds bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_seconds % 3600 = 0 THEN p_seconds / 3600 || CASE p_seconds WHEN 3600 THEN ' hour' ELSE ' hours' END
                WHEN p_seconds % 60 = 0 THEN p_seconds / 60 || CASE p_seconds WHEN 60 THEN ' minute' ELSE ' minutes' END
                ELSE p_seconds || ' seconds' END
$$;

-- The sessions whose time is over now, with what follows: `expire`, `end` or `disconnect`. Policies are those of now, resolved for all
-- users with live sessions at once. What a person did in the last moment may still be on its way here, so idleness is judged five
-- seconds late; sessions that cannot be heard of are not judged at all.
CREATE FUNCTION due_sessions_v1()
RETURNS TABLE (session_id uuid, node_id uuid, follows text, unused_since timestamptz, limit_s bigint) LANGUAGE sql STABLE AS $$
    WITH live AS MATERIALIZED (
        SELECT s.* FROM sessions s WHERE s.state NOT IN ('ended', 'failed', 'lost') AND s.state NOT IN ('ending', 'unreachable')),
    said AS (
        SELECT DISTINCT ON (u.user_id, e.key) u.user_id, e.key, e.value #>> '{}' AS value
        FROM (SELECT DISTINCT l.user_id FROM live l) u
        JOIN groups g ON g.settings ?| '{time_limit_s,idle_timeout_s,idle_action}' AND (g.system IS NOT DISTINCT FROM 'everyone'
            OR EXISTS (SELECT 1 FROM group_members m WHERE m.group_id = g.id AND m.user_id = u.user_id))
        CROSS JOIN LATERAL jsonb_each(g.settings) e
        WHERE e.key IN ('time_limit_s', 'idle_timeout_s', 'idle_action')
        ORDER BY u.user_id, e.key, g.priority, g.id),
    policy AS (
        SELECT s.user_id,
            coalesce(max(s.value::bigint) FILTER (WHERE s.key = 'time_limit_s'), 0) AS time_limit_s,
            coalesce(max(s.value::bigint) FILTER (WHERE s.key = 'idle_timeout_s'), 0) AS idle_timeout_s,
            coalesce(max(s.value) FILTER (WHERE s.key = 'idle_action'), 'disconnect') AS idle_action
        FROM said s GROUP BY s.user_id)
    SELECT j.* FROM (
        SELECT l.id, l.node_id,
            CASE WHEN p.time_limit_s > 0 AND l.created_at + make_interval(secs => p.time_limit_s) <= now() THEN 'expire'
                 WHEN p.idle_timeout_s > 0 AND l.state = 'running' AND node_is_reachable_v1(n.last_seen_at)
                     AND n.report @> '{"reports_activity": true}' AND a.active_at IS NOT NULL
                     AND greatest(a.active_at, l.started_at) + make_interval(secs => p.idle_timeout_s + 5) <= now()
                     AND (p.idle_action = 'end' OR (l.idle_cut_at >= greatest(a.active_at, l.started_at)) IS NOT TRUE)
                     THEN p.idle_action END AS follows,
            greatest(a.active_at, l.started_at) AS unused_since,
            CASE WHEN p.time_limit_s > 0 AND l.created_at + make_interval(secs => p.time_limit_s) <= now()
                THEN p.time_limit_s ELSE p.idle_timeout_s END AS limit_s
        FROM live l
        JOIN policy p ON p.user_id = l.user_id
        JOIN nodes n ON n.id = l.node_id
        LEFT JOIN session_activity a ON a.session_id = l.id) j
    WHERE j.follows IS NOT NULL
$$;

-- Does what is due to at most p_batch sessions, and gives what is to be pushed to their agents. Any number of Web App nodes may ask at once:
-- what another one holds, a heartbeat too, is passed over and due again the next time, so nothing here waits for a lock.
CREATE FUNCTION act_on_limits_v1(p_batch integer) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_due record;
    v_session sessions;
    v_reason text;
    v_pushes jsonb := '[]';
    v_acted integer := 0;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM groups g WHERE g.settings ?| '{time_limit_s,idle_timeout_s}') THEN
        RETURN jsonb_build_object('acted', 0, 'pushes', v_pushes); -- Nothing is limited for anybody.
    END IF;
    FOR v_due IN SELECT d.* FROM due_sessions_v1() d ORDER BY d.node_id, d.session_id LIMIT p_batch LOOP
        -- In the order of all locks: the node, then the session.
        PERFORM 1 FROM nodes WHERE id = v_due.node_id FOR NO KEY UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        SELECT * INTO v_session FROM sessions s
            WHERE s.id = v_due.session_id AND s.state NOT IN ('ending', 'unreachable', 'ended', 'failed', 'lost')
            FOR NO KEY UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        -- As it is under the lock: somebody may have come back, or another node been here.
        CONTINUE WHEN v_due.follows <> 'expire' AND unused_since_v1(v_session) IS DISTINCT FROM v_due.unused_since;
        CONTINUE WHEN v_due.follows = 'disconnect' AND v_session.idle_cut_at >= v_due.unused_since;
        IF v_due.follows = 'disconnect' THEN
            UPDATE sessions SET cut_before = now(), idle_cut_at = now() WHERE id = v_session.id;
            PERFORM announce_v1(v_session.node_id, v_session.id);
        ELSE
            v_reason := CASE v_due.follows WHEN 'expire' THEN 'it reached its time limit of ' || duration_words_v1(v_due.limit_s)
                ELSE 'nobody used it for ' || duration_words_v1(v_due.limit_s) END;
            CONTINUE WHEN NOT order_end_v1(v_session.id, v_reason);
            SELECT v_pushes || push_view_v1(s) INTO v_pushes FROM sessions s WHERE s.id = v_session.id;
        END IF;
        INSERT INTO audit (user_id, node_id, action, target, outcome, detail) VALUES (v_session.user_id, v_session.node_id,
            CASE v_due.follows WHEN 'expire' THEN 'session_expired' ELSE 'session_idle' END, v_session.id::text, 'ok',
            jsonb_build_object('follows', CASE v_due.follows WHEN 'disconnect' THEN 'disconnect' ELSE 'end' END, 'limit_s', v_due.limit_s));
        v_acted := v_acted + 1;
    END LOOP;
    RETURN jsonb_build_object('acted', v_acted, 'pushes', v_pushes);
END
$$;

-- A session's user says that they are there.
CREATE FUNCTION stay_v1(p_token bytea, p_session uuid) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_caller record;
    v_session sessions;
BEGIN
    SELECT * INTO v_caller FROM caller_v2(p_token);
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated');
    END IF;
    SELECT * INTO v_session FROM sessions WHERE id = p_session AND user_id = v_caller.id AND v_caller.own
        AND (v_caller.zones IS NULL OR zone_id = ANY (v_caller.zones));
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    -- One whose agent says nothing of activity is not judged, and is not to be by this. What a click changes within seconds is nothing.
    UPDATE session_activity SET active_at = now() WHERE session_id = p_session AND active_at < now() - interval '1 second';
    RETURN jsonb_build_object('outcome', 'ok', 'session', session_view_v1(v_session));
END
$$;
