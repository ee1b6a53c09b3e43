-- Sessions as they are seen, opened, cut and ended since.

CREATE OR REPLACE FUNCTION session_view_v1(s sessions) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'id', s.id, 'name', w.name,
        'workspace', jsonb_build_object('id', w.id, 'name', w.name, 'icon', w.icon),
        'user', jsonb_build_object('id', u.id, 'name', u.name),
        'zone', coalesce((SELECT z.name FROM zones z WHERE z.id = s.zone_id), (SELECT g.name FROM gone_zones g WHERE g.id = s.zone_id)),
        'agent', n.name, 'state', s.state,
        'progress', jsonb_build_object('step', s.progress_step, 'message', s.progress_message, 'percent', s.progress_percent),
        'reason', s.reason, 'choice', s.explanation->'choice', 'relaunch', relaunch_view_v1(s),
        'created_at', s.created_at, 'started_at', s.started_at, 'ended_at', s.ended_at) || session_life_v1(s)
        || jsonb_build_object('home', CASE WHEN s.home_id IS NULL THEN 'temporary' ELSE 'persistent' END,
            'watches', watches_view_v1(s.id))
    FROM workspaces w, users u, nodes n
    WHERE w.id = s.workspace_id AND u.id = s.user_id AND n.id = s.node_id
$$;

-- The proxy's one question, answered with the policy of the moment: what a grant says is what holds when the stream opens. Whoever opens
-- one is there.
CREATE OR REPLACE FUNCTION authorize_v2(
    p_proxy uuid, p_zone uuid, p_ticket uuid, p_nonce text, p_session uuid, p_user uuid, p_agent uuid,
    p_epoch bigint, p_generation bigint, p_grant uuid, p_address text, p_request text
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_answer jsonb;
BEGIN
    v_answer := authorize_v1(p_proxy, p_zone, p_ticket, p_nonce, p_session, p_user, p_agent, p_epoch, p_generation,
        p_grant, p_address, p_request);
    IF v_answer->>'outcome' = 'ok' THEN
        SELECT v_answer || jsonb_build_object('policy', policy_v1(u)) INTO v_answer FROM users u WHERE u.id = p_user;
        UPDATE session_activity SET active_at = now() WHERE session_id = p_session AND active_at < now() - interval '10 seconds';
    END IF;
    RETURN v_answer;
END
$$;

-- What a ticket for the caller's own session must say, the policy that goes with it, and where its agent is reached without a proxy.
-- Administrators have no way into somebody's desktop.
CREATE OR REPLACE FUNCTION connect_v2(p_token bytea, p_session uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN c.id IS NULL THEN jsonb_build_object('outcome', 'unauthenticated')
        WHEN s.id IS NULL THEN jsonb_build_object('outcome', 'not_found')
        WHEN s.state NOT IN ('starting', 'running', 'unreachable') THEN
            jsonb_build_object('outcome', 'not_live', 'state', s.state, 'reason', s.reason)
        ELSE jsonb_build_object('outcome', 'ok', 'user_id', c.id, 'zone_id', z.id, 'agent_id', s.node_id,
            'epoch', s.epoch, 'generation', s.generation, 'settings', z.settings, 'policy', policy_v1(c),
            'agent', n.name, 'direct_address', n.report->'direct_address') END
    FROM (SELECT 1) one
    LEFT JOIN caller_v1(p_token) c ON true
    LEFT JOIN sessions s ON s.id = p_session AND s.user_id = c.id AND reaches_v1(p_token, s.zone_id)
    LEFT JOIN zones z ON z.id = s.zone_id
    LEFT JOIN nodes n ON n.id = s.node_id
$$;

-- The one question of a proxy, or of an agent whose zone has none between. The ticket's signature and times were checked before; here it
-- is used up, once, whoever retries.
CREATE OR REPLACE FUNCTION authorize_v1(
    p_proxy uuid, p_zone uuid, p_ticket uuid, p_nonce text, p_session uuid, p_user uuid, p_agent uuid,
    p_epoch bigint, p_generation bigint, p_grant uuid, p_address text, p_request text
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_use ticket_uses;
BEGIN
    PERFORM 1 FROM nodes n WHERE n.id = p_proxy AND n.zone_id = p_zone AND n.removed_at IS NULL
        AND (n.role = 'proxy' OR n.role = 'agent' AND n.id = p_agent
            AND (SELECT z.settings->'proxy_connections' = 'false' FROM zones z WHERE z.id = p_zone));
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

-- Cuts the streams of those for whom something else holds than before; their pages come back by themselves, with a new grant. The cut is of
-- this very moment, not of the transaction's beginning: a grant that was made in between still says what held before.
CREATE OR REPLACE FUNCTION cut_changed_streams_v1(p_users uuid[], p_before jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_after jsonb := stream_words_v1(p_users);
BEGIN
    UPDATE sessions s SET cut_before = clock_timestamp()
        FROM jsonb_each(v_after) a
        WHERE s.user_id = a.key::uuid AND a.value IS DISTINCT FROM p_before->a.key
          AND s.state NOT IN ('ended', 'failed', 'lost');
END
$$;

-- One session, for its user or whoever may view sessions; a key sees those of its zones. Somebody else's looks exactly like none.
CREATE OR REPLACE FUNCTION get_session_v2(p_token bytea, p_session uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN c.id IS NULL THEN jsonb_build_object('outcome', 'unauthenticated')
        WHEN s.id IS NULL THEN jsonb_build_object('outcome', 'not_found')
        ELSE jsonb_build_object('outcome', 'ok', 'caller', c.id, 'session', session_view_v1(s), 'explanation', s.explanation) END
    FROM (SELECT 1) one
    LEFT JOIN caller_v2(p_token) c ON true
    LEFT JOIN sessions s ON s.id = p_session AND (s.user_id = c.id AND c.own OR 'sessions:view' = ANY (c.permissions))
        AND (c.zones IS NULL OR s.zone_id = ANY (c.zones))
$$;

-- Tells a session to end, whoever decided it: the tombstone, which its agent carries out. Whether it was told so now. Its streams are cut as of
-- this very moment: one that was granted while the ending waited for a lock is cut, too.
CREATE OR REPLACE FUNCTION order_end_v1(p_session uuid, p_reason text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_session sessions;
    v_desired bigint;
BEGIN
    SELECT * INTO v_session FROM sessions WHERE id = p_session AND state NOT IN ('ending', 'ended', 'failed', 'lost');
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE nodes SET desired_version = desired_version + 1 WHERE id = v_session.node_id
        RETURNING desired_version INTO v_desired;
    UPDATE sessions SET state = 'ending', desired = 'end', generation = generation + 1, desired_version = v_desired,
        cut_before = clock_timestamp(), reason = p_reason
        WHERE id = p_session AND state NOT IN ('ending', 'ended', 'failed', 'lost');
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM announce_v1(v_session.node_id, p_session);
    RETURN true;
END
$$;

-- Sets the tombstone, for the session's user or whoever may delete sessions; a key for those of its zones. Asked again, it says how far the
-- ending is.
CREATE OR REPLACE FUNCTION end_session_v2(p_token bytea, p_session uuid, p_address text, p_request text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_caller record;
    v_session sessions;
    v_mine boolean;
BEGIN
    SELECT * INTO v_caller FROM caller_v2(p_token);
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'unauthenticated');
    END IF;
    SELECT * INTO v_session FROM sessions WHERE id = p_session;
    v_mine := v_session.user_id = v_caller.id AND v_caller.own;
    IF NOT FOUND OR v_session.zone_id <> ALL (v_caller.zones)
        OR NOT v_mine AND NOT v_caller.permissions && '{sessions:view,sessions:delete}' THEN
        RETURN jsonb_build_object('outcome', 'not_found');
    END IF;
    IF NOT v_mine AND NOT 'sessions:delete' = ANY (v_caller.permissions) THEN
        RETURN jsonb_build_object('outcome', 'forbidden');
    END IF;
    IF order_end_v1(p_session,
        CASE WHEN v_session.user_id = v_caller.id THEN 'ended by its user' ELSE 'ended by an administrator' END) THEN
        INSERT INTO audit (user_id, action, target, outcome, address, request_id)
            VALUES (v_caller.id, 'end_session', p_session::text, 'ok', p_address, p_request);
    END IF;
    SELECT * INTO v_session FROM sessions WHERE id = p_session;
    RETURN jsonb_build_object('outcome', 'ok', 'push', push_view_v1(v_session), 'session', session_view_v1(v_session));
END
$$;
