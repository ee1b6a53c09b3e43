-- Nodes hear sooner of what concerns their zone, know when they are to be drained, and say how many streams they carry.

ALTER TABLE nodes ADD COLUMN streams bigint NOT NULL DEFAULT 0;

-- Tells every Web App node that something about a zone changed: its settings, its revocations, or its nodes. The first word tells this
-- news from that of a session, and a release that does not know it passes over it.
CREATE FUNCTION announce_zone_v1(p_zone uuid) RETURNS void LANGUAGE sql AS $$
    SELECT pg_notify('meridian', 'zone ' || p_zone)
$$;

CREATE FUNCTION zone_changed_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM announce_zone_v1(NEW.id);
    RETURN NULL;
END
$$;
CREATE TRIGGER zone_changed AFTER UPDATE ON zones FOR EACH ROW EXECUTE FUNCTION zone_changed_v1();

-- A revocation: access to a session was taken away, or the session is over.
CREATE FUNCTION session_revoked_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM announce_zone_v1(NEW.zone_id);
    RETURN NULL;
END
$$;
CREATE TRIGGER session_revoked AFTER UPDATE OF cut_before, ended_at ON sessions FOR EACH ROW
    WHEN (OLD.cut_before IS DISTINCT FROM NEW.cut_before OR OLD.ended_at IS DISTINCT FROM NEW.ended_at)
    EXECUTE FUNCTION session_revoked_v1();

CREATE FUNCTION node_changed_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.zone_id IS NOT NULL THEN
        PERFORM announce_zone_v1(NEW.zone_id);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER node_changed AFTER UPDATE OF draining, address, removed_at ON nodes FOR EACH ROW
    WHEN (OLD.draining <> NEW.draining OR OLD.address <> NEW.address OR OLD.removed_at IS DISTINCT FROM NEW.removed_at)
    EXECUTE FUNCTION node_changed_v1();
CREATE TRIGGER node_came AFTER INSERT ON nodes FOR EACH ROW EXECUTE FUNCTION node_changed_v1();

-- The heartbeat with the count of streams: what a proxy says, and for an agent the sum of what it says of its sessions. A node of the
-- release before says nothing of it.
CREATE FUNCTION heartbeat_v2(
    p_node uuid, p_since bigint, p_version text, p_address text, p_agent jsonb, p_problems jsonb, p_streams bigint
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_answer jsonb;
BEGIN
    v_answer := heartbeat_v1(p_node, p_since, p_version, p_address, p_agent, p_problems);
    UPDATE nodes n SET streams = c.streams
        FROM (SELECT coalesce(p_streams, (SELECT sum((s->>'streams')::bigint) FROM jsonb_array_elements(p_agent->'sessions') s), 0) AS streams) c
        WHERE n.id = p_node AND n.streams <> c.streams;
    RETURN v_answer;
END
$$;

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
