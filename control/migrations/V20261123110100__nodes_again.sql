-- Nodes, as they are told, tell and are seen since: the heartbeat, what answers it, and what administrators see.

-- What the node shall do and know, newer than p_since. The same state gives the same text: nodes write it down when it changes.
CREATE OR REPLACE FUNCTION update_view_v1(p_node uuid, p_since bigint) RETURNS jsonb LANGUAGE sql STABLE AS $$
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
            'zone_id', z.id, 'zone_name', z.name, 'zone', zone_settings_v1(z), 'draining', n.draining,
            'jwks', (SELECT jsonb_build_object('keys', coalesce(jsonb_agg(jsonb_build_object('kty', 'OKP', 'crv', 'Ed25519',
                'alg', 'EdDSA', 'use', 'sig', 'kid', k.id, 'x', k.public_x) ORDER BY k.id), '[]'))
                FROM signing_keys k WHERE k.retired_at IS NULL),
            -- As long as the session lives, so that a zone that was cut off for hours hears of them too; then ten minutes more.
            'revocations', (SELECT coalesce(jsonb_agg(jsonb_build_object('session_id', s.id, 'issued_before', s.cut)
                    || CASE WHEN s.is_idle THEN '{"because": "idle"}'::jsonb ELSE '{}'::jsonb END ORDER BY s.id), '[]')
                FROM (SELECT id, cut_before AS cut, idle_cut_at IS NOT DISTINCT FROM cut_before AS is_idle FROM sessions
                      WHERE zone_id = n.zone_id AND cut_before IS NOT NULL AND state NOT IN ('ended', 'failed', 'lost')
                      UNION ALL
                      SELECT id, greatest(cut_before, ended_at), false FROM sessions
                      WHERE zone_id = n.zone_id AND state IN ('ended', 'failed', 'lost')
                        AND ended_at > now() - interval '10 minutes') s),
            'agents', CASE WHEN n.role IN ('proxy', 'balance') THEN (
                SELECT coalesce(jsonb_agg(jsonb_build_object('node_id', a.id, 'address', a.address) ORDER BY a.id), '[]')
                FROM nodes a WHERE a.zone_id = n.zone_id AND a.role = 'agent' AND a.removed_at IS NULL AND a.address <> '')
                ELSE '[]'::jsonb END)
            -- Last: what only balancers are told is not a null to everybody else.
            || CASE n.role WHEN 'balance' THEN jsonb_build_object('fleet', fleet_view_v1(n.zone_id))
                WHEN 'agent' THEN jsonb_build_object('watches_over', watches_over_v1(n.id)) ELSE '{}'::jsonb END)
    FROM deployment d, nodes n LEFT JOIN zones z ON z.id = n.zone_id
    WHERE n.id = p_node AND n.removed_at IS NULL
$$;

-- The heartbeat with the count of streams: what a proxy says, and for an agent the sum of what it says of its sessions. A node of the
-- release before says nothing of it, and an agent of that release neither of the images that its
-- zone wants, nor of when its sessions were used, nor of those who look on at them.
CREATE OR REPLACE FUNCTION heartbeat_v2(
    p_node uuid, p_since bigint, p_version text, p_address text, p_agent jsonb, p_problems jsonb, p_streams bigint
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_answer jsonb;
BEGIN
    v_answer := heartbeat_v1(p_node, p_since, p_version, p_address, p_agent - 'standings' - 'images_version' - 'homes_gone'
        - 'watches' - 'watches_ended' || CASE WHEN p_agent ? 'watches' THEN '{"serves_watches": true}'::jsonb ELSE '{}' END, p_problems);
    UPDATE nodes n SET streams = c.streams
        FROM (SELECT coalesce(p_streams, (SELECT sum((s->>'streams')::bigint) FROM jsonb_array_elements(p_agent->'sessions') s), 0) AS streams) c
        WHERE n.id = p_node AND n.streams <> c.streams;
    IF p_agent @> '{"reports_activity": true}' THEN
        PERFORM note_activity_v1(p_node, p_agent->'sessions');
    END IF;
    IF p_agent ? 'images_version' AND v_answer->>'outcome' = 'ok' THEN
        v_answer := told_images_v1(p_node, p_agent, v_answer);
    END IF;
    IF p_agent ? 'homes_gone' AND v_answer->>'outcome' = 'ok' THEN
        v_answer := told_homes_v1(p_node, p_agent, v_answer);
    END IF;
    IF p_agent ? 'watches' AND v_answer->>'outcome' = 'ok' THEN
        PERFORM note_watches_v1(p_node, p_agent);
    END IF;
    RETURN v_answer;
END
$$;

-- A node, as administrators see it.
CREATE OR REPLACE FUNCTION node_view_v1(n nodes) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'id', n.id, 'name', n.name, 'role', n.role, 'zone', (SELECT z.name FROM zones z WHERE z.id = n.zone_id),
        'address', n.address, 'direct_address', n.report->'direct_address', 'version', n.version,
        'state', CASE WHEN n.last_seen_at IS NULL THEN 'enrolled'
            WHEN NOT node_is_reachable_v1(n.last_seen_at) THEN 'unreachable'
            WHEN n.draining THEN 'draining' ELSE 'ready' END,
        'last_seen_at', n.last_seen_at, 'database_ms', n.report->'database_ms', 'sessions', n.sessions_used, 'streams', n.streams,
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
