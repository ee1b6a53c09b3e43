-- Sessions as they are seen, opened, cut and ended since.

CREATE OR REPLACE FUNCTION session_view_v1(s sessions) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'id', s.id, 'name', w.name,
        'workspace', jsonb_build_object('id', w.id, 'name', w.name, 'icon', w.icon),
        'user', jsonb_build_object('id', u.id, 'name', u.name),
        'zone', coalesce((SELECT z.name FROM zones z WHERE z.id = s.zone_id), (SELECT g.name FROM gone_zones g WHERE g.id = s.zone_id)),
        'agent', n.name, 'state', s.state,
        'progress', jsonb_build_object('step', s.progress_step, 'message', s.progress_message, 'percent', s.progress_percent),
        'reason', s.reason, 'choice', s.explanation->'choice',
        'created_at', s.created_at, 'started_at', s.started_at, 'ended_at', s.ended_at) || session_life_v1(s)
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
